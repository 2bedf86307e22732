"""The student of few steps, who teaches it and who judges it: networks and losses of one micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.adapters.adapter import Adapter, Use, carry, merged
from sanakit.adapters.new import AdapterConfig, new_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.features.batches import LatentBatch
from sanakit.layers.embeddings import ScalarEmbedding
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.sampling.trigflow import Field, trigflow
from sanakit.training.objectives.consistency import scm_loss, weighted_error
from sanakit.training.objectives.ladd import Draws, adversarial_loss, judging_loss
from sanakit.training.objectives.ladd_heads import Heads
from sanakit.training.optimizers.config import AdamWConfig
from sanakit.training.recipes.sprint.settings import SprintSettings
from sanakit.training.step.trainee import Made, Trainee


def student_of(teacher: LinearDiT, *, shares: bool = False) -> LinearDiT:
    """A copy with a guidance embedding that adds nothing yet, so that it is its teacher whatever scale it is told; one
    that ``shares`` has the teacher's parameters themselves."""
    with torch.device(teacher.device):
        student = LinearDiT(replace(teacher.config, guidance_embeds=True))
    assert student.guidance_embed is not None
    nn.init.zeros_(student.guidance_embed.linear_2.weight)
    nn.init.zeros_(student.guidance_embed.linear_2.bias)
    own = {name: tensor for name, tensor in student.state_dict().items() if name.startswith("guidance_embed.")}
    student.load_state_dict({**teacher.state_dict(), **own})
    for name, parameter in teacher.named_parameters() if shares else ():
        module, _, leaf = name.rpartition(".")
        student.get_submodule(module).register_parameter(leaf, parameter)
    return student.train()


class LevelWeights(nn.Module):
    """How much a noise level counts, learned: the logarithm of the error's variance at it, 0 before training."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.embed, self.out = ScalarEmbedding(hidden_size), nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, angle: Tensor) -> Tensor:
        """Angles ``(B,)`` to ``(B,)``."""
        return self.out(self.embed(_sigma(angle)).float()).squeeze(-1)


class Distillation(nn.Module):
    """Who takes part in it. Trained are the student, or the adapter that it carries over its teacher's weights, the
    weights of noise levels and the heads of the judge.

    Student and judge take turns, a step each; with the judge left out the student takes every step.

    Args:
        teacher: frozen here; the student begins as its copy.
        recipe: how they learn; all new weights follow from its seed.
    """

    def __init__(self, teacher: LinearDiT, recipe: SprintSettings) -> None:
        super().__init__()
        self.recipe, self.teacher = recipe, teacher.eval().requires_grad_(False)
        self.listened = recipe.adversarial.blocks_of(teacher.config.num_layers)
        drawn_on = "meta" if teacher.device.type == "meta" else "cpu"  # the same weights on every device
        with torch.random.fork_rng(devices=[]), torch.device(drawn_on):
            torch.manual_seed(recipe.seed)
            self.student = student_of(teacher, shares=recipe.adapter is not None)
            size = teacher.config.hidden_size
            self.weights = LevelWeights(size).to(teacher.device)
            self.heads = Heads(size, len(self.listened), recipe.adversarial).to(teacher.device)
        if self.student.guidance_embed is not None:
            self.student.guidance_embed.requires_grad_(recipe.guidance_embedding)  # else it goes on to add nothing
        self.adapter = None if recipe.adapter is None else self._with_adapter(recipe.adapter)

    def _with_adapter(self, config: AdapterConfig) -> Adapter:
        student = self.student.requires_grad_(False)
        adapter = new_adapter(student, Layers.of(LINEAR_DIT, student.config).diffusers, config, self.recipe.seed)
        carry(student, adapter, always=True)
        return adapter.train().requires_grad_(True)

    @property
    def learner(self) -> nn.Module:
        """What is trained of the student."""
        return self.adapter or self.student

    def whole_student(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of the student on the CPU for those of the ``learner``."""
        if self.adapter is None:
            return weights
        adapter = deepcopy(self.adapter).cpu().eval()
        adapter.load_state_dict(dict(weights))
        own = {name: tensor.cpu() for name, tensor in self.student.state_dict().items()}
        return {**own, **merged(own, [Use(adapter)])}

    def trainees(self, null: TextCondition) -> tuple[Trainee, ...]:
        """``null`` is the text that guidance leads away from, one row."""
        constants, recipe = {"null.embeds": null.embeds, "null.mask": null.mask}, self.recipe
        turns: dict[str, Any] = {"every": 2, "turn": 0} if recipe.adversarial.weight else {}
        loss, seen = partial(self.student_loss, null), {"teacher": self.teacher}
        around = () if self.adapter is None else (self.student,)
        found = [
            Trainee("student", self.learner, loss, recipe.optimizer, constants, companions=seen, around=around, **turns)
        ]
        if recipe.objective.weight:
            found.append(Trainee("weights", self.weights, self.weighting, AdamWConfig(), **turns))
        if recipe.adversarial.weight:
            optimizer, rate = recipe.adversarial.optimizer or recipe.optimizer, recipe.adversarial.rate
            found.append(Trainee("heads", self.heads, self.judging, optimizer, constants, rate=rate, every=2, turn=1))
        return tuple(found)

    def student_loss(
        self, null: TextCondition, batch: LatentBatch, generator: torch.Generator, made: Made
    ) -> Mapping[str, Tensor]:
        """One step of the student is to end where the guided teacher's path does, and to pass for data."""
        objective, adversarial = self.recipe.objective, self.recipe.adversarial
        scale = self.scales(batch, generator)
        student, terms = self.student_field(batch.text, scale), dict[str, Tensor]()
        with torch.no_grad():
            told = self.teacher.prepare(batch.text)
        loss = torch.zeros((), device=batch.latent.device)
        if objective.weight:
            found = scm_loss(
                student, self.guided(null, told, scale), self.kept_weights, batch.latent, generator,
                config=objective, step=int(made["step"]),
            )  # fmt: skip
            made["angle"], made["error"] = found["angle"], found["error"].detach()
            norm = found["tangent"]
            terms |= {"consistency": found["loss"], "tangent": norm.mean(), "per_sample": norm}
            terms["sigma"] = _sigma(found["angle"])
            loss = loss + objective.weight * found["loss"]
        if adversarial.weight:
            terms["adversarial"] = adversarial_loss(student, self.judge(told), batch.latent, self.draws(generator))
            loss = loss + adversarial.weight * terms["adversarial"]
        return {"loss": loss, **terms}

    def weighting(self, batch: LatentBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        """The loss of consistency for the weights of levels, of what the student has just made."""
        return {"loss": weighted_error(made["error"], made["angle"], self.weights(made["angle"]))}

    def judging(self, batch: LatentBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        """The heads are to tell data from what the student makes."""
        with torch.no_grad():
            student = self.student_field(batch.text, self.scales(batch, generator))
            told = self.teacher.prepare(batch.text)
        return judging_loss(student, self.judge(told, int(made["step"])), batch.latent, self.draws(generator))

    def scales(self, batch: LatentBatch, generator: torch.Generator) -> Tensor:
        """The teacher's guidance, ``(B,)``."""
        scales = torch.tensor(self.recipe.guidance_scales)
        return scales[torch.randint(len(scales), (len(batch.latent),), generator=generator)].to(batch.latent.device)

    def draws(self, generator: torch.Generator) -> Draws:
        return Draws(generator=generator, config=self.recipe.adversarial, angles=self.recipe.objective)

    def student_field(self, text: TextCondition, scale: Tensor) -> Field:
        told = replace(self.student.prepare(text), guidance=scale)
        return trigflow(lambda latent, sigma: self.student(latent, 1000 * sigma, told).float())

    def guided(self, null: TextCondition, told: Condition, scale: Tensor) -> Field:
        """The teacher's field with guidance; both halves of it are one call."""
        with torch.no_grad():
            empty = self.teacher.prepare(TextCondition(*(part.to(scale.device) for part in (null.embeds, null.mask))))
            both = Condition.cat([*[empty] * len(scale), told])

        def velocity(latent: Tensor, sigma: Tensor) -> Tensor:
            rows = self.teacher(torch.cat([latent, latent]), 1000 * torch.cat([sigma, sigma]), both).float()
            without, with_text = rows.chunk(2)
            return without + scale.reshape(-1, 1, 1, 1) * (with_text - without)

        return trigflow(velocity)

    def judge(self, told: Condition, step: int | None = None) -> Field:
        """Latents and angles to judgements: the heads, on what the teacher thinks of them; ``step`` as of ``Heads``."""
        teacher = trigflow(lambda latent, sigma: self.teacher(latent, 1000 * sigma, told))

        def judged(latent: Tensor, angle: Tensor) -> Tensor:
            with outputs_of([self.teacher.units[block] for block in self.listened]) as features:
                teacher(latent, angle)
            return self.heads(features, step)

        return judged

    def kept_weights(self, angle: Tensor) -> Tensor:
        with torch.no_grad():
            return self.weights(angle)


@contextmanager
def outputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """What the modules return within, in the order in which they run."""
    found: list[Tensor] = []
    handles = [module.register_forward_hook(lambda module, given, output: found.append(output)) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _sigma(angle: Tensor) -> Tensor:
    return angle.sin() / (angle.sin() + angle.cos())
