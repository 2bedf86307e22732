"""The memory plan of a distillation, of its first blocks, against real steps of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.profiler import ProfilerActivity, profile

from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError
from sanakit.kernels.native import library
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.memory import memory_plan, step_memory
from sanakit.training.memory.step_memory import StepSettings, Workload, measure_step
from sanakit.training.recipes.planning import checkpoint_bytes
from sanakit.training.recipes.recipe import build_recipe
from sanakit.training.recipes.sprint import plan as sprint_plan
from sanakit.training.recipes.sprint.recipe import SprintRecipe
from sanakit.training.recipes.transformer.plan import NetworkShape
from sanakit.training.step.parallel import attention_for, autocast, checkpoint_activations

FOLDER = Path(__file__).parents[3] / "recipes"
NUM_LAYERS, TOKENS = 5, 10
STAGE = {"resolutions": [64], "batch_size": 4, "learning_rate": 1e-3, "steps": 1}
SETTINGS = {
    "init": "starter", "data": {"type": "scenes", "bank": "tiny"}, "adversarial": {"kernel": 3},
    "stages": [STAGE | {"name": "adapt", "trains": "teacher"}, STAGE | {"name": "distil"}],
}  # fmt: skip


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> list[Workload]:
    """Of both stages; native kernels keep less than is planned, so they are left out."""
    config = LinearDiTConfig(
        hidden_size=64, num_layers=NUM_LAYERS, head_dim=16, cross_head_dim=16, in_channels=4, out_channels=4,
        caption_channels=24,
    )  # fmt: skip
    monkeypatch.setattr(library, "native_library", lambda: None)
    monkeypatch.setattr(sprint_plan, "network_shape", lambda recipe: NetworkShape(config, 8, 1, TOKENS))
    return from_mapping(SprintRecipe, SETTINGS).workloads("cpu")


def real_peak(work: Workload, recomputed: bool) -> int:
    """Most bytes allocated at once by a step of real networks, as the allocator told the profiler."""
    model = work.model.to_empty(device="cpu")
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.02)
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    if recomputed:
        checkpoint_activations(model)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace, attention_for("cpu"):
        with autocast("cpu", "fp32"):
            loss = work.loss(model, 4, torch.device("cpu"))
        loss.backward()
    live = peak = 0
    for event in sorted(trace.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.parametrize(("stage", "recomputed"), [(0, False), (1, True)])
def test_a_real_step_allocates_what_the_plan_of_a_few_blocks_says(
    works: list[Workload], stage: int, recomputed: bool
) -> None:
    settings: dict[str, Any] = {"precision": "fp32", "activation_checkpointing": recomputed}
    found = measure_step(works[stage], StepSettings(batch_size=4, **settings))
    assert max(found.forward, found.backward) == pytest.approx(real_peak(works[stage], recomputed), rel=0.1)


def test_what_is_kept_is_counted(works: list[Workload], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both networks are weights, and lie in a checkpoint; one of them is averaged, and what learns has gradients."""
    monkeypatch.setattr(memory_plan, "measure_step", lambda work, settings: step_memory.StepMemory(1, 1))
    settings = [StepSettings(batch_size=4)] * 2
    for work, each in zip(works, memory_plan.plan_memories(works, settings), strict=True):
        student = work.averaged
        assert isinstance(student, LinearDiT)
        size = memory_plan.size_of
        assert each.ema == size(student)
        assert each.weights == size(work.model) > 2 * size(student) * 0.9
        assert each.gradients == 4 * sum(p.numel() for p in work.model.parameters() if p.requires_grad) >= each.ema
        assert checkpoint_bytes([each]) == each.weights + each.ema + each.optimizer


def test_the_published_recipe_has_what_is_planned() -> None:
    settings = yaml.safe_load((FOLDER / "sprint-1600m.yaml").read_text())
    sizes = [memory_plan.size_of(work.model) for work in build_recipe(settings, name="sprint").workloads("cuda")]
    assert 2 * 4 * 1_604_000_000 < sizes[0] < sizes[1]


def test_a_block_that_is_not_there_is_refused_before_anything_is_loaded(works: list[Workload]) -> None:
    recipe = from_mapping(SprintRecipe, SETTINGS | {"adversarial": {"blocks": [NUM_LAYERS]}})
    with pytest.raises(ConfigError, match="names a block that the teacher has not"):
        recipe.workloads("cpu")
