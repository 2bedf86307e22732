from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sanakit.cli.train import apply_override, read_recipe
from sanakit.common.errors import RequestError

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=3", {"seed": 3, "loop": {"minutes": 5}, "phases": [{"name": "a"}]}),
        ("loop.minutes=0.5", {"loop": {"minutes": 0.5}, "phases": [{"name": "a"}]}),
        ("loop.steps=null", {"loop": {"minutes": 5, "steps": None}, "phases": [{"name": "a"}]}),
        ("phases.0.name=b=c", {"loop": {"minutes": 5}, "phases": [{"name": "b=c"}]}),
    ],
)
def test_overrides(override: str, expected: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"loop": {"minutes": 5}, "phases": [{"name": "a"}]}
    apply_override(settings, override)
    assert settings == expected


@pytest.mark.parametrize(
    "override", ["seed", "=3", "no.place=1", "phases.1.name=x", "phases.x=1", "loop.minutes.deep=1", "a=[1"]
)
def test_overrides_that_lead_nowhere(override: str) -> None:
    with pytest.raises(RequestError, match="--set"):
        apply_override({"loop": {"minutes": 5}, "phases": [{"name": "a"}]}, override)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_read(recipe: Path) -> None:
    from sanakit.common.config import from_mapping, to_mapping
    from sanakit.training.autoencoder import AutoencoderRecipe
    from sanakit.training.transformer import TransformerRecipe

    settings = read_recipe(recipe)
    kind: type = {"autoencoder": AutoencoderRecipe, "transformer": TransformerRecipe}[settings["type"]]
    assert to_mapping(from_mapping(kind, settings))["type"] == settings["type"]


def test_bad_recipes_are_usage_errors(run: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1\nb: 2")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "type.yaml").write_text("type: video")
    (tmp_path / "key.yaml").write_text("type: autoencoder\nmodle: {}")
    for name, message in (
        ("none.yaml", "No such file"), ("broken.yaml", "not YAML at line"), ("list.yaml", "holds list"),
        ("type.yaml", "autoencoder or transformer"), ("key.yaml", "did you mean 'model'"),
    ):  # fmt: skip
        outcome = run("train", name)
        assert outcome.code == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1


def test_training_writes_its_recipe_and_weights(run: Any) -> None:
    recipe = next(path for path in RECIPES if "autoencoder" in path.stem)
    short = ["--set", "phases.0.loop.steps=2", "--set", "phases.1.loop.steps=1", "--set", "phases.0.loop.batch_size=2",
             "--set", "phases.1.loop.batch_size=1", "--set", "phases.0.crop=32", "--set", "resolution=64",
             "--set", "phases.0.loop.log_steps=1", "--set", "phases.1.loop.log_steps=1"]  # fmt: skip
    assert run("train", recipe, "--output", "out", "--quiet", *short).code == 0
    assert "steps: 2" in Path("out/recipe.yaml").read_text()
    assert Path("out/autoencoder.pt").is_file()
