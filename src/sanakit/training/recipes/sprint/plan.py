"""What the stages of a distillation need memory for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.features.batches import LatentBatch
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.memory.step_memory import LossOfBatch, Workload
from sanakit.training.recipes.sprint.adaptation import Adaptation, adapted
from sanakit.training.recipes.sprint.distillation import Distillation
from sanakit.training.recipes.sprint.settings import SprintSettings
from sanakit.training.recipes.transformer.plan import network_shape, picture_network


def sprint_workloads(recipe: SprintSettings, device: str) -> list[Workload]:
    """Of every stage, with all networks that it has and keeps in checkpoints; of a student's its own turn, the larger
    one, where the heads of the judge count with the recipe's optimiser.

    Raises:
        ConfigError: the judge is to listen to a block that the teacher has not.
    """
    shape = network_shape(recipe)
    config, compression, num_tokens = picture_network(shape), shape.compression, shape.num_tokens
    with torch.device("meta"):
        given = LinearDiT(config)
    models = {trains: _networks(recipe, trains, given) for trains in {stage.trains for stage in recipe.stages}}
    works = []
    for stage in recipe.stages:
        model = models[stage.trains]
        averaged = model.teacher if isinstance(model, Adaptation) else model.learner
        loss = _loss(side=max(1, max(stage.resolutions) // compression), num_tokens=num_tokens)
        work = Workload(name=stage.name, model=model, loss=loss, optimizer=recipe.optimizer, device=device)
        works.append(replace(work, averaged=averaged))
    return works


def _networks(recipe: SprintSettings, trains: str, given: LinearDiT) -> Adaptation | Distillation:
    if trains == "teacher":
        return Adaptation(given, recipe.adaptation)
    return Distillation(adapted(given) if recipe.adapts else given, recipe)


def _loss(*, side: int, num_tokens: int) -> LossOfBatch:
    """Of square latents with texts of ``num_tokens``, and a null text as long."""

    def loss(model: nn.Module, batch_size: int, device: torch.device) -> Tensor:
        assert isinstance(model, (Adaptation, Distillation))
        config = model.teacher.config
        latent = torch.zeros(batch_size, config.in_channels, side, side, device=device)
        embeds = torch.zeros(batch_size, num_tokens, config.caption_channels, device=device)
        mask = torch.ones(batch_size, num_tokens, dtype=torch.bool, device=device)
        null, generator = TextCondition(embeds[:1], mask[:1]), torch.Generator()
        batch, step = LatentBatch(latent, TextCondition(embeds, mask)), dict[str, Any](step=0)
        if isinstance(model, Adaptation):
            return model.loss(null, batch, generator, step)["loss"]
        last = len(model.teacher.units) - 1
        model.listened = tuple(min(block, last) for block in model.listened)  # of a plan's network of fewer blocks
        return model.student_loss(null, batch, generator, step)["loss"]

    return loss
