"""The memory plan of a recipe before its run, the settings that fit, and whether its networks are sharded."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from sanakit.common.byte_counts import readable_bytes
from sanakit.common.devices import has_quick_bfloat16
from sanakit.common.errors import ConfigError, OutputError, RequestError
from sanakit.common.free_memory import free_memory
from sanakit.common.ranks import Ranks, any_rank
from sanakit.kernels.compiler import compiler_problem
from sanakit.kernels.native.library import native_library
from sanakit.training.memory.memory_plan import MemoryPlan, fit_memory, plan_memories
from sanakit.training.memory.step_memory import StepSettings
from sanakit.training.recipes.recipe import Recipe
from sanakit.training.run.run_config import Precision
from sanakit.training.run.stage import StageConfig

logger = logging.getLogger(__name__)

RecipeT = TypeVar("RecipeT", bound=Recipe)


def with_precision(recipe: RecipeT, device: str, *, begun: Precision | None = None) -> RecipeT:
    """The recipe with its precision, or if it leaves the choice what a run began with, or else what is quicker.

    Raises:
        ConfigError: the weights that it begins with do not work in bfloat16.
    """
    refusal = _refusal_of_bf16(recipe)
    chosen = recipe.precision if recipe.precision != "auto" else begun
    if chosen == "bf16" and refusal:
        began = "" if recipe.precision == "bf16" else "this run began in bf16, so give it another --output and "
        raise ConfigError(f"the weights of init: are not trained in bf16: {refusal}; {began or 'use '}precision: fp32")
    return replace(recipe, precision=chosen or ("bf16" if has_quick_bfloat16(device) and not refusal else "fp32"))


def _refusal_of_bf16(recipe: Recipe) -> str:
    """Why what the run begins with does not work in bfloat16; "" if it does."""
    policy = recipe.begun_policy()
    return "" if policy is None or "bfloat16" in policy.dtypes["transformer"] else policy.reason or "its card says so"


def plan(recipe: Recipe, device: str, *, shards: int = 1) -> list[MemoryPlan]:
    """What one process needs in each stage; nothing if recipes of this type cannot be planned."""
    works = [replace(work, shards=shards) for work in recipe.workloads(device)]
    return plan_memories(works, _settings(recipe)) if works else []


def fit(recipe: RecipeT, budget: int, device: str) -> RecipeT:
    """The recipe with micro-batches, accumulation, precision and recomputation that fit into ``budget`` bytes.

    Raises:
        RequestError: nothing fits, and it names the least memory that would; or the recipe cannot be planned.
    """
    works = recipe.workloads(device)
    if not works:
        raise RequestError(f"--fit does not know recipes of type {recipe.type}: their memory cannot be planned")
    chosen = [each.settings for each in fit_memory(works, _settings(recipe), budget, bf16=not _refusal_of_bf16(recipe))]
    stages = tuple(
        replace(stage, batch_size=each.batch_size, accumulation=each.accumulation)
        for stage, each in zip(recipe.stages, chosen, strict=True)
    )
    recomputed = chosen[0].activation_checkpointing
    return replace(recipe, stages=stages, precision=chosen[0].precision, activation_checkpointing=recomputed)


def plan_text(recipe: Recipe, plans: Sequence[MemoryPlan]) -> str:
    """What each stage is, and what a process needs for it, as far as that was planned."""
    lines = []
    for index, stage in enumerate(recipe.stages):
        lines.append(f"stage {stage.name}: {_stage_text(stage)}")
        if index < len(plans):
            lines += [f"memory of a process in stage {stage.name}:", plans[index].table()]
    if plans:
        each, kept = readable_bytes(checkpoint_bytes(plans), decimals=1), recipe.checkpoints.keep_last
        most = readable_bytes((kept + 1) * checkpoint_bytes(plans), decimals=1)
        every = recipe.checkpoints.keep_every_steps
        lines.append(
            f"disk: {each} a checkpoint, {most} with {kept} kept and one being written"
            + (f", and one for good every {every} steps" if every else "")
        )
    return "\n".join(lines)


def checkpoint_bytes(plans: Sequence[MemoryPlan]) -> int:
    """About what a checkpoint takes on the disk, from plans of whole networks: weights, average, optimiser."""
    return max((each.weights + each.ema + each.optimizer for each in plans), default=0)


def check_disk(recipe: Recipe, plans: Sequence[MemoryPlan], folder: Path) -> None:
    """Warn of a disk that has no room for the checkpoints of a run.

    Raises:
        OutputError: not even one fits.
    """
    there = sum(file.stat().st_size for file in (folder / "checkpoints").glob("*/*") if file.is_file())
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free, each = shutil.disk_usage(place).free, checkpoint_bytes(plans)
    least, most = each, (recipe.checkpoints.keep_last + 1) * each - there
    words = f"the disk of {folder} has {readable_bytes(free, decimals=1)} left"
    if free < least:
        raise OutputError(
            f"{words}, and a checkpoint of this run takes about {readable_bytes(each, decimals=1)}; free some, or give "
            f"another --output"
        )
    if free < most:
        logger.warning(
            "%s, and its checkpoints will take about %s; the run stops when the disk is full",
            words, readable_bytes(most, decimals=1),
        )  # fmt: skip


def with_compiler(recipe: RecipeT, device: str, ranks: Ranks) -> RecipeT:
    """The recipe with ``compile`` decided: where there is no compiler, auto goes on without, with a note, and where the
    native kernels train, without one: they are as fast, and no minutes are spent on compiling.

    Raises:
        ConfigError: it must be compiled, and cannot.
    """
    if recipe.compile is False:
        return recipe
    if recipe.compile == "auto" and not any_rank(not _trains_natively(recipe, device), ranks):
        return replace(recipe, compile=False)
    problem = compiler_problem(device)
    if not any_rank(problem != "", ranks):
        return replace(recipe, compile=True)
    why = problem or "on another process"
    if recipe.compile is True:
        raise ConfigError(
            f"compile: true cannot be done here ({why}); install a C++ compiler, such as g++, or use compile: auto"
        )
    logger.warning("compile: auto goes on uncompiled, with the same numbers up to rounding and slower (%s)", why)
    return replace(recipe, compile=False)


def _trains_natively(recipe: Recipe, device: str) -> bool:
    """Whether native kernels with backward passes compute here."""
    return device == "cpu" and recipe.precision == "fp32" and native_library() is not None


def _stage_text(stage: StageConfig) -> str:
    """Size, batch, rate and length, and the samples of one process where the steps are known."""
    per_step = stage.batch_size * stage.accumulation
    words = [" and ".join(f"{side} px" for side in stage.sides)] if stage.sides else []
    words.append(f"batches of {stage.batch_size}" + (f" x {stage.accumulation}" if stage.accumulation > 1 else ""))
    scaled = "" if stage.auto_lr == "none" else f" at 256 samples a step ({stage.auto_lr} of more)"
    words.append(f"rate {stage.learning_rate:g}{scaled}")
    length = {"steps": stage.steps, "epochs": stage.epochs, "minutes": stage.minutes}
    words.append(" or ".join(f"{value:,} {name}" for name, value in length.items() if value is not None))
    if stage.steps is not None:
        words.append(f"{stage.steps * per_step:,} samples a process")
    return ", ".join(words)


def is_sharded(recipe: Recipe, plans: Sequence[MemoryPlan], *, device: str, world: int) -> bool:
    """Whether several processes keep shards: if the recipe says so, or if a whole copy does not fit on each."""
    if world == 1 or recipe.parallel == "ddp" or recipe.only_whole:
        return False
    if recipe.parallel == "fsdp":
        return True
    room = available_memory(device, world)
    return room is not None and any(each.total > room for each in plans)


def available_memory(device: str, world: int) -> int | None:
    """Bytes for one process: of its own accelerator, or its share of the machine's; None if nothing tells."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info()[0]
    free = free_memory()
    return None if free is None else free // world


def _settings(recipe: Recipe) -> list[StepSettings]:
    precision = recipe.precision
    assert precision != "auto", "with_precision comes first"
    return [
        StepSettings(
            batch_size=stage.batch_size,
            accumulation=stage.accumulation,
            precision=precision,
            activation_checkpointing=recipe.activation_checkpointing,
        )
        for stage in recipe.stages
    ]
