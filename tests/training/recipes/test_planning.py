"""Whether networks are sharded: by the recipe, else by what fits."""

from __future__ import annotations

import pytest

from sanakit.common.errors import ConfigError, RequestError
from sanakit.training.memory.memory_plan import MemoryPlan
from sanakit.training.memory.step_memory import StepSettings
from sanakit.training.recipes import planning
from sanakit.training.recipes.autoencoder.recipe import AutoencoderRecipe
from sanakit.training.recipes.planning import fit, is_sharded, plan
from sanakit.training.recipes.recipe import Recipe, build_recipe
from sanakit.training.run.run_config import Parallel

STAGE = {"name": "only", "resolution": 64, "batch_size": 2, "learning_rate": 1e-3, "steps": 1}
GAN = {**STAGE, "gan": {"num_layers": 1, "channels": 8}}
PLANS = [
    MemoryPlan(settings=StepSettings(batch_size=2), weights=w, gradients=0, optimizer=0, ema=0, frozen=0, activations=1)
    for w in (10, 30)
]


def recipe(parallel: Parallel, stage: dict[str, object]) -> Recipe:
    return build_recipe(
        {"type": "autoencoder", "init": "starter", "parallel": parallel, "stages": [stage]}, name="test"
    )


@pytest.mark.parametrize(
    ("parallel", "stage", "world", "room", "expected"),
    [
        ("auto", STAGE, 1, 1, False),
        ("auto", STAGE, 2, 31, False),
        ("auto", STAGE, 2, 30, True),
        ("auto", STAGE, 2, None, False),  # nothing tells what there is
        ("auto", GAN, 2, 1, False),
        ("ddp", STAGE, 2, 1, False),
        ("fsdp", STAGE, 2, 99, True),
        ("fsdp", STAGE, 1, 99, False),
    ],
)
def test_what_does_not_fit_whole_is_sharded(
    monkeypatch: pytest.MonkeyPatch,
    parallel: Parallel,
    stage: dict[str, object],
    world: int,
    room: int | None,
    expected: bool,
) -> None:
    monkeypatch.setattr(planning, "available_memory", lambda device, world: room)
    assert is_sharded(recipe(parallel, stage), PLANS, device="cpu", world=world) is expected


def test_a_recipe_that_cannot_be_sharded_or_planned_says_so() -> None:
    with pytest.raises(ConfigError, match="fsdp does not go together with a stage that has a gan"):
        recipe("fsdp", GAN)
    settings = {
        "type": "dual_encoder",
        "model": {"picture_channels": 1120, "num_patches": 16, "text_channels": 32},
        "stages": [{"name": "only", "batch_size": 6, "learning_rate": 1e-3, "steps": 1}],
    }
    unplanned = build_recipe(settings, name="test")
    assert plan(unplanned, "cpu") == []
    with pytest.raises(RequestError, match="--fit does not know recipes of type dual_encoder"):
        fit(unplanned, 10**9, "cpu")
    with pytest.raises(ConfigError, match="fsdp does not go together with a dual encoder"):
        build_recipe({**settings, "parallel": "fsdp"}, name="test")
    assert isinstance(recipe("auto", STAGE), AutoencoderRecipe)
