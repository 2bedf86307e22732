"""The recipes of the published members: what they train, and that they are planned without weights or data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.models.presets import LINEAR_DIT_PRESETS
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.training.objectives.ladd import AdversarialConfig
from sanakit.training.recipes.planning import plan, plan_text
from sanakit.training.recipes.recipe import Recipe, build_recipe
from sanakit.training.recipes.rl.recipe import RLRecipe
from sanakit.training.recipes.sprint.recipe import SprintRecipe
from sanakit.training.recipes.transformer.recipe import TransformerRecipe

FOLDER = Path(__file__).parents[3] / "recipes"
# Of the transformer: parameters without buffers.
PARAMETERS = {"sana-600m": 591_747_872, "sana-1600m": 1_604_462_752, "sana-1.5-4800m": 4_721_825_952}


def read(name: str) -> Recipe:
    return build_recipe(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()), name=name)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_stage_is_planned(name: str) -> None:
    recipe = read(name)
    plans = plan(recipe, "cuda")
    assert len(plans) == len(recipe.stages)
    for each in plans:
        assert each.weights == each.gradients == each.ema == 4 * PARAMETERS[name]
        assert each.total < 81e9  # of an A100 or H100, which the papers used
    text = plan_text(recipe, plans)
    for stage in recipe.stages:
        assert f"stage {stage.name}: {stage.sides[0]} px, batches of {stage.batch_size}" in text
        assert f"{stage.steps:,} steps" in text


@pytest.mark.parametrize(("name", "size"), [("sana-600m", "600m"), ("sana-1600m", "1600m")])
def test_the_network_is_the_preset_of_each_resolution(name: str, size: str) -> None:
    recipe = read(name)
    assert isinstance(recipe, TransformerRecipe)
    assert recipe.model is not None
    assert [stage.resolutions for stage in recipe.stages] == [(512,), (1024,), (2048,), (4096,)]
    networks = [stage.network(recipe.model, 32) for stage in recipe.stages]
    assert networks[1] == LINEAR_DIT_PRESETS[f"sana-{size}-1024"]
    if name == "sana-1600m":  # the only one that was published for these
        assert networks[2:] == [LINEAR_DIT_PRESETS["sana-1600m-2k"], LINEAR_DIT_PRESETS["sana-1600m-4k"]]


def test_clips_are_planned_by_the_names_of_published_networks() -> None:
    recipe = read("sana-video-2b")
    plans = plan(recipe, "cuda")
    assert [each.weights for each in plans] == [4 * 2_056_862_144] * 4
    assert plans[0].activations < plans[2].activations


def test_the_large_one_grows_from_the_small_one() -> None:
    recipe = read("sana-1.5-4800m")
    assert isinstance(recipe, TransformerRecipe)
    assert recipe.growth is not None
    grown = recipe.growth.grown_config(LINEAR_DIT_PRESETS["sana-1600m-1024"])
    assert grown == LINEAR_DIT_PRESETS["sana1.5-4800m-1024"]


def test_a_distillation_has_the_papers_numbers() -> None:
    recipe = read("sprint-1600m")
    assert isinstance(recipe, SprintRecipe)
    assert recipe.adversarial.blocks_of(20) == AdversarialConfig().blocks_of(20) == (2, 8, 14, 19)
    assert (recipe.objective.weight, recipe.adversarial.weight, recipe.gradient_clip) == (1.0, 0.5, 0.1)
    assert [(s.trains, s.learning_rate, s.steps) for s in recipe.stages] == [
        ("teacher", 2e-5, 5000), ("student", 2e-6, 20000),
    ]  # fmt: skip
    assert isinstance(read("starter-sprint"), SprintRecipe)


def test_the_autoencoder_of_a_recipe_that_was_not_trained_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = read("starter-transformer")
    with pytest.raises(ConfigError, match=r"autoencoder/model'.*if another recipe makes it, train that one first$"):
        plan(recipe, "cpu")
    Path("runs/starter-autoencoder/model").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no model folder"):
        plan(recipe, "cpu")


@pytest.mark.parametrize("name", ["sana-1600m-nft", "sana-1600m-sol-rl"])
def test_plans_of_learning_from_rewards(name: str) -> None:
    """The published iteration: 48 prompts with 24 pictures each on eight GPUs, and one step of the optimiser."""
    recipe = read(name)
    assert isinstance(recipe, RLRecipe)
    assert (recipe.rollout.prompts, recipe.rollout.candidates, recipe.rollout.steps) == (48, 24, 10)
    layout = recipe.layout(recipe.stages[0], FlowDPM(num_steps=10, flow_shift=3.0).schedule(), 3.0)
    assert layout.samples == 1152
    passes = {"sana-1600m-nft": 9, "sana-1600m-sol-rl": 6}[name]
    assert layout.accumulation(1, 8) == 1152 // 9 // 8 * passes  # 54 of the second, as published
    (planned,) = plan(recipe, "cuda")
    assert planned.total < 81e9
    assert planned.gradients < planned.weights + 1  # of the adapter alone


def test_a_plan_of_learning_from_clips() -> None:
    recipe = read("sana-video-nft")
    assert isinstance(recipe, RLRecipe)
    layout = recipe.layout(recipe.stages[0], FlowDPM(num_steps=10, flow_shift=8.0).schedule(), 8.0)
    assert layout.accumulation(1, 8) == 16 * 12 // 8 * 9
    (planned,) = plan(recipe, "cuda")
    assert planned.weights == 4 * 2_056_862_144


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), [("flux1-sol-rl", 11.9e9), ("sd3.5-sol-rl", 8.06e9)])
def test_plans_of_models_of_diffusers(name: str, parameters: float) -> None:
    recipe = read(name)
    assert isinstance(recipe, RLRecipe)
    (planned,) = plan(recipe, "cuda")
    assert planned.frozen == pytest.approx(4 * parameters, rel=0.02)
    assert planned.total < 81e9
    layout = recipe.layout(recipe.stages[0], FlowDPM(num_steps=10, flow_shift=3.0).schedule(), 3.0)
    assert layout.accumulation(1, 8) == 1152 // 3 // 8 * 6


@pytest.mark.parametrize("name", ["nft", "grpo", "sol-rl", "sft"])
def test_iterations_of_the_starter_can_be_shared(name: str) -> None:
    recipe = read(f"rl-starter-{name}")
    assert isinstance(recipe, RLRecipe)
    schedule = FlowDPM(num_steps=recipe.rollout.steps or 20, flow_shift=3.0).schedule()
    layout = recipe.layout(recipe.stages[0], schedule, 3.0)
    for world in (1, 2):
        assert layout.accumulation(recipe.rollout.updates, world) > 0
