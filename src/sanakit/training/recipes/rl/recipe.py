"""Improving a model by rewards of its own pictures: roll out, look, compare, learn."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.identity.card import VideoDefaults
from sanakit.checkpoints.identity.precision import BFLOAT16_LINE, PrecisionPolicy
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.common.aspect_ratio import nominal_side
from sanakit.common.errors import ConfigError
from sanakit.data.clip_bins import check_lengths
from sanakit.data.curation.parts import arrow
from sanakit.features.identity import identity_of_encoders
from sanakit.training.loop import RunResult
from sanakit.training.memory.step_memory import Workload
from sanakit.training.objectives.nft import NFTConfig, old_decay
from sanakit.training.recipes.recipe import Run
from sanakit.training.recipes.rl.diffusers_model import is_of_diffusers, layers_of, planned_network
from sanakit.training.recipes.rl.learning import build_trainee
from sanakit.training.recipes.rl.on_ray import RayRollouts
from sanakit.training.recipes.rl.policy import Policy
from sanakit.training.recipes.rl.report import HeldOut, report_rl
from sanakit.training.recipes.rl.rolling import begun, build_engines, build_maker, build_panel, rolled_card
from sanakit.training.recipes.rl.settings import RLSettings, RLStage
from sanakit.training.recipes.transformer.export import export_adapter, export_model
from sanakit.training.recipes.transformer.networks import build_transformer
from sanakit.training.recipes.transformer.plan import (
    NetworkShape,
    begun_policy,
    latent_loss,
    meta_adapter,
    network_shape,
    picture_network,
)
from sanakit.training.recipes.transformer.samples import SamplePainter
from sanakit.training.recipes.transformer.starting_model import StartingModel
from sanakit.training.rollouts.engine import Engine
from sanakit.training.rollouts.feed import Learned, RolledBatch, Rollouts
from sanakit.training.rollouts.maker import Maker
from sanakit.training.rollouts.prompts import Prompts
from sanakit.training.run.continuing import INIT
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import Bundle, unflatten
from sanakit.training.step.trainee import CheckData, PlannedStage, Stage, Trainee

logger = logging.getLogger(__name__)

_LOOKED_AT = 64  # prompts, before a run, for whether rewards know anything of them


@dataclass(frozen=True, kw_only=True, slots=True)
class RLRecipe(RLSettings):
    """A run of such settings."""

    def begun_policy(self) -> PrecisionPolicy | None:
        return BFLOAT16_LINE if is_of_diffusers(self) else begun_policy(self)

    def workloads(self, device: str) -> list[Workload]:
        with torch.device("meta"):
            model: nn.Module
            layers: Layers | None
            frames = None
            if self.init is not None and is_of_diffusers(self):
                self._leave_clips_out()
                model, compression, num_tokens = planned_network(self.init)
                layers = layers_of(model)
            else:
                shape = network_shape(self)
                compression, num_tokens = shape.compression, shape.num_tokens
                model, frames = build_transformer(shape.config), self._latent_frames(shape)
                layers = None if frames else Layers.of(LINEAR_DIT, picture_network(shape))
            learner = None if layers is None or self.adapter is None else meta_adapter(model, layers, self.adapter)
        works = []
        for stage in self.stages:
            side = max(1, (nominal_side(stage.resolution) if frames else stage.resolution) // compression)
            loss = latent_loss(side=side, num_tokens=num_tokens, frames=frames)
            work = Workload(name=stage.name, model=model, loss=loss, optimizer=self.optimizer, device=device)
            works.append(replace(work, learner=learner))
        return works

    def _latent_frames(self, shape: NetworkShape) -> int | None:
        """Of the clips of rollouts; None of pictures.

        Raises:
            ConfigError: an adapter is to be trained beside a network of clips, or the network makes pictures.
            RequestError: the autoencoder has no clips of that length.
        """
        frames = shape.latent_frames(self.rollout.frames or VideoDefaults(base_size=1).num_frames)
        if frames is None:
            self._leave_clips_out()
        elif self.rollout.frames is not None:
            check_lengths([self.rollout.frames], shape.temporal)
        if frames is not None and self.adapter is not None:
            raise ConfigError("adapter: is not there for a network of clips yet; train the whole of it")
        return frames

    def _leave_clips_out(self) -> None:
        if self.rollout.frames is not None or self.rollout.fps is not None:
            raise ConfigError(
                f"rollout.frames and rollout.fps are of clips, and {self.init} makes pictures; leave them out"
            )

    def start(self, session: Session) -> Run:
        arrow()  # records are Parquet
        run = Rewarding(self, begun(self, session.device), session)
        stages = [PlannedStage(config, partial(run.build_stage, config)) for config in self.stages]
        return Run(stages=stages, finish=run.finish, draw_samples=run.painter.draw)

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        start = begun(self, bundle.device)
        policy = Policy(start, needs_reference=True)
        policy.old.load_state_dict(bundle.weights_of(f"{bundle.facts['trainee']}.old"))
        trainee = build_trainee(self, policy, bundle.constants, start.card.defaults.flow_shift)
        return trainee, RolledBatch(unflatten(Learned, bundle.tensors, "batch.learned"))


class Rewarding:
    """A run: the policy, the engines that make its pictures, and who looks at them."""

    def __init__(self, recipe: RLRecipe, start: StartingModel, session: Session) -> None:
        self.recipe, self.start, self.session = recipe, start, session
        self.policy = Policy(start, needs_reference=True)
        self.painter = SamplePainter(recipe.samples, start, device=session.device)
        self.panel = build_panel(recipe, start, session.device)
        self.rays: RayRollouts | None = None
        self.prompts = Prompts(recipe.prompts, recipe.seed)
        self.held_out = Prompts(recipe.prompts, recipe.seed, "heldout")
        self._check_fit()

    def build_stage(self, config: RLStage, check: CheckData) -> Stage:
        recipe, start, session = self.recipe, self.start, self.session
        check(INIT, {"weights": start.given[:16]})
        check("the prompts", self.prompts.identity | identity_of_encoders(start.encoders))
        card = rolled_card(recipe, start, config)
        self.painter.begin(card)
        engines = build_engines(recipe, start, config, session.device)
        if recipe.ray is not None:
            self._close()
            self.rays = RayRollouts(recipe, config, recipe.ray)
        folder, shift = session.folder / "rollouts", card.defaults.flow_shift
        maker = build_maker(recipe, config, engines, self.panel, folder, ranks=session.ranks, elsewhere=self.rays)
        probe = maker.plans_of(0)[0].solver
        layout = recipe.layout(config, probe.schedule(), shift)
        accumulation = layout.accumulation(recipe.rollout.updates, session.ranks.world)

        def refresh() -> None:
            weights, revision = self.policy.weights(self.policy.old)
            for engine in engines:
                engine.refresh(weights, revision)
            if self.rays is not None:
                self.rays.take(weights, revision)

        def steps_of(iteration: int) -> tuple[int, ...]:
            sampler = recipe.sampler(iteration, shift)
            return () if sampler is None else sampler.trained_steps()

        feed = Rollouts(maker, layout, seed=recipe.seed, steps_of=steps_of, renew=self._renew, refresh=refresh)
        null = engines[0].pipeline.bundle.text_encoder.encode_null()
        constants = {"null.embeds": null.embeds, "null.mask": null.mask}
        trainee = build_trainee(recipe, self.policy, constants, shift)
        test = partial(self._test, engines[0], maker) if self.held_out.first(recipe.tested_prompts) else None
        return Stage(replace(config, accumulation=accumulation), feed, (trainee,), keep_optimizer=True, test=test)

    def finish(self, result: RunResult) -> None:
        """Write the averaged policy as ``model/``, or as ``adapter/``, and a report."""
        self._close()
        recipe, start, folder = self.recipe, self.start, self.session.folder
        card = rolled_card(recipe, start, recipe.stages[-1])
        if recipe.adapter is None:
            bundle = export_model(result.weights, start, card, start.words, folder / "model")
        else:
            bundle = export_adapter(result.weights, start, recipe.adapter, card, folder / "adapter")
        held_out = HeldOut(self.panel, self.held_out, recipe.report_prompts, self.session.watchers.on_scoring)
        assert start.again is not None
        report_rl(bundle, start.again, recipe, folder, run=result, held_out=held_out)

    def _close(self) -> None:
        if self.rays is not None:
            self.rays.close()
            self.rays = None

    def _renew(self, iteration: int) -> None:
        """Let the weights of rollouts follow, before an iteration."""
        recipe = self.recipe
        kind = recipe.old if isinstance(recipe.algorithm, NFTConfig) else "none"
        self.policy.renew_old(old_decay(kind, iteration * recipe.rollout.updates))

    def _test(self, engine: Engine, maker: Maker) -> Mapping[str, float]:
        """What rewards say of held-out prompts, drawn as rollouts are, by the present policy."""
        weights, revision = self.policy.weights(self.policy.learner)
        if not self.session.ranks.is_first:
            return {}
        engine.refresh(weights, revision)
        prompts = self.held_out.first(self.recipe.tested_prompts)
        plans = [maker.plans_for(prompt, [seed])[0] for seed, prompt in enumerate(prompts)]
        held_out = HeldOut(self.panel, self.held_out, len(prompts))
        found = held_out.score([each.image for each in engine.make(plans)], prompts)
        return {
            f"held_out/{part}{end}": value
            for part, each in found.items()
            for end, value in (("", each.mean), (" low", each.low), (" high", each.high))
        }

    def _check_fit(self) -> None:
        """Tell of rewards that know nothing of the prompts.

        Raises:
            ConfigError: one knows nothing of any, or looks at clips where the model makes pictures.
        """
        if not isinstance(self.start.card.defaults, VideoDefaults):
            self.panel.refuse_clips()
        prompts = self.prompts.first(_LOOKED_AT)
        for name, strange in self.panel.misfits(prompts).items():
            if len(strange) == len(prompts):
                raise ConfigError(
                    f"reward {name} has nothing to say of these prompts, such as {strange[0]!r}; choose prompts: that "
                    f"suit it"
                )
            if strange:
                logger.warning(
                    "reward %s has nothing to say of %d of %d prompts, such as %r", name, len(strange), len(prompts),
                    strange[0],
                )  # fmt: skip
