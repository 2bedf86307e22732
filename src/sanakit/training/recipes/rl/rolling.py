"""Who makes the pictures of a run and who looks at them, here or in another process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.common.config import to_mapping
from sanakit.common.ranks import ALONE, Ranks
from sanakit.features.identity import digest_of
from sanakit.sampling.stochastic import StochasticSolver
from sanakit.scoring.rewards.load import load_reward
from sanakit.scoring.rewards.panel import Panel
from sanakit.training.objectives.grpo import GRPOConfig
from sanakit.training.recipes.rl.diffusers_model import diffusers_start, is_of_diffusers
from sanakit.training.recipes.rl.settings import RLSettings, RLStage
from sanakit.training.recipes.transformer.starting_model import StartingModel, starting_model
from sanakit.training.rollouts.buffer import Buffer
from sanakit.training.rollouts.engine import Engine
from sanakit.training.rollouts.maker import Elsewhere, Maker
from sanakit.training.rollouts.prompts import Prompts


def begun(recipe: RLSettings, device: str) -> StartingModel:
    """What a run begins with, of ours or of diffusers."""
    return (diffusers_start if is_of_diffusers(recipe) else starting_model)(recipe, device)


def build_panel(recipe: RLSettings, start: StartingModel, device: str) -> Panel:
    load = partial(load_reward, words=start.words or None, device=device)
    return Panel.of(recipe.rewards, lambda config: load(config.name))


def build_engines(recipe: RLSettings, start: StartingModel, config: RLStage, device: str) -> list[Engine]:
    """The one of full precision, and the explorer if that is another."""
    engines = [_engine(recipe, start, config, device)]
    if recipe.explore is not None and recipe.explore.scheme is not None:
        explore = recipe.explore
        bits = {"scheme": explore.scheme, "min_features": explore.min_features}
        engines.append(_engine(recipe, start, config, device, **bits))
    return engines


def _engine(recipe: RLSettings, start: StartingModel, config: RLStage, device: str, **bits: Any) -> Engine:
    assert start.again is not None
    network = start.again().to(device)
    if recipe.precision == "bf16":
        network = network.bfloat16()
    bundle = ModelBundle(
        transformer=network,
        autoencoder=start.encoders.latents,
        text_encoder=start.encoders.text,
        card=rolled_card(recipe, start, config),
        words=start.words,
    )
    return Engine(bundle, **bits)


def rolled_card(recipe: RLSettings, start: StartingModel, config: RLStage) -> ModelCard:
    """Of a model whose pictures, or clips, are those of rollouts."""
    said = {"num_frames": recipe.rollout.frames, "fps": recipe.rollout.fps}
    of_clips = {name: value for name, value in said.items() if value is not None}
    return start.card_for(config.resolution, start.card.defaults.flow_shift, **of_clips)


def build_maker(
    recipe: RLSettings,
    config: RLStage,
    engines: list[Engine],
    panel: Panel,
    folder: Path,
    *,
    ranks: Ranks = ALONE,
    elsewhere: Elsewhere | None = None,
) -> Maker:
    """Of the iterations of a stage, whose rollouts lie in ``folder``."""
    shift = engines[0].pipeline.bundle.card.defaults.flow_shift
    parts = (recipe.rollout, recipe.explore, recipe.algorithm, recipe.rewards, recipe.prompts, config.resolution)

    def sampler(iteration: int) -> StochasticSolver:
        found = recipe.sampler(iteration, shift)
        assert found is not None
        return found

    return Maker(
        seed=recipe.seed,
        prompts=Prompts(recipe.prompts, recipe.seed),
        panel=panel,
        engine=engines[0],
        buffer=Buffer(folder),
        ranks=ranks,
        config=recipe.rollout,
        explore=recipe.explore,
        explorer=engines[1] if len(engines) > 1 else None,
        sampler=sampler if isinstance(recipe.algorithm, GRPOConfig) else None,
        spread=recipe.advantages,
        stamp=digest_of(repr(to_mapping(part)) for part in parts),
        elsewhere=elsewhere,
    )
