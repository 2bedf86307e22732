"""The memory plan of a recipe before its run, the settings that fit, and whether the model is sharded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sanakit.checkpoints.bundle import complete, compression_of, find_autoencoder
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.common.free_memory import free_memory
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.memory.memory_plan import MemoryPlan, StepSettings, Workload, fit, latent_loss, plan_memory
from sanakit.training.recipes.transformer.recipe import TransformerRecipe
from sanakit.training.recipes.transformer.starting_model import check_autoencoder_file
from sanakit.training.run.run_config import RunConfig


def plan_transformer(recipe: TransformerRecipe, *, device: str, shards: int = 1) -> list[MemoryPlan]:
    """What one process needs in each stage. Reads headers of files, no weights."""
    works, settings = _works(recipe, device, shards)
    return [plan_memory(work, each) for work, each in zip(works, settings, strict=True)]


def fit_transformer(recipe: TransformerRecipe, budget: int, *, device: str) -> TransformerRecipe:
    """The recipe with micro-batches, accumulation, precision and recomputation that fit into ``budget`` bytes.

    Raises:
        RequestError: nothing fits; it names the least memory that would.
    """
    works, settings = _works(recipe, device, 1)
    chosen = [plan.settings for plan in fit(works, settings, budget)]
    stages = tuple(
        replace(stage, batch_size=each.batch_size, accumulation=each.accumulation)
        for stage, each in zip(recipe.stages, chosen, strict=True)
    )
    return replace(
        recipe,
        stages=stages,
        precision=chosen[0].precision,
        activation_checkpointing=chosen[0].activation_checkpointing,
    )


def is_sharded(recipe: RunConfig, plans: Sequence[MemoryPlan], *, device: str, world: int) -> bool:
    """Whether several processes keep shards: if the recipe says so, or if a whole copy does not fit on each."""
    if world == 1 or recipe.parallel == "ddp":
        return False
    if recipe.parallel == "fsdp":
        return True
    room = available_memory(device, world)
    return room is not None and max(plan.total for plan in plans) > room


def available_memory(device: str, world: int) -> int | None:
    """Bytes for one process: of its own accelerator, or its share of the machine's; None if nothing tells."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info()[0]
    free = free_memory()
    return None if free is None else free // world


def _works(recipe: TransformerRecipe, device: str, shards: int) -> tuple[list[Workload], list[StepSettings]]:
    config, compression, num_tokens = _shape(recipe)
    with torch.device("meta"):
        model = LinearDiT(config)
    works, settings = [], []
    for stage in recipe.stages:
        side = max(1, max(stage.resolutions) // compression)
        works.append(Workload(
            name=stage.name, model=model, loss=latent_loss(height=side, width=side, num_tokens=num_tokens),
            optimizer=recipe.optimizer, shards=shards, device=device,
        ))  # fmt: skip
        settings.append(StepSettings(
            batch_size=stage.batch_size, accumulation=stage.accumulation, precision=recipe.precision,
            activation_checkpointing=recipe.activation_checkpointing,
        ))  # fmt: skip
    return works, settings


def _shape(recipe: TransformerRecipe) -> tuple[LinearDiTConfig, int, int]:
    """The network, pixels of a side per latent position, and the longest text."""
    given = recipe.autoencoder
    if given is not None and Path(given).suffix == ".pt":
        file = check_autoencoder_file(given)
        from sanakit.training.recipes.autoencoder.recipe import load_autoencoder

        compression = load_autoencoder(file).config.compression
    elif given is not None:
        compression = compression_of(find_autoencoder(given))
    else:
        compression = 0
    if recipe.model is not None:
        return recipe.model, compression or 32, recipe.text.max_tokens if recipe.text else 300
    assert recipe.init is not None
    parts = complete(find_parts(recipe.init), HubOptions())
    assert parts.transformer is not None
    config = parts.transformer.config
    text = recipe.text or (parts.card.text if parts.card else None)
    return config, compression or compression_of(parts.autoencoder), text.max_tokens if text else 300
