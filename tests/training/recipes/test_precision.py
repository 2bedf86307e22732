"""The precision of a run that leaves the choice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sanakit.checkpoints.identity.precision import (
    BFLOAT16_LINE,
    FLOAT16_LINE,
    OWN_LINE,
    continued_policy,
    trained_policy,
)
from sanakit.common.errors import ConfigError
from sanakit.training.recipes import planning
from sanakit.training.recipes.recipe import build_recipe
from sanakit.training.recipes.recipe_file import begun_precision

STAGE = {"name": "only", "resolution": 64, "batch_size": 2, "learning_rate": 1e-3, "steps": 1}
RECIPE = build_recipe({"type": "autoencoder", "init": "starter", "stages": [STAGE]}, name="test")
PUBLISHED = {  # of the name: what it is not trained in says its reason
    "Efficient-Large-Model/Sana_1600M_1024px_diffusers": "diffusers#9982",
    "Efficient-Large-Model/Sana_600M_512px_diffusers": "diffusers#9982",
    "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers": "",
    "Efficient-Large-Model/SANA1.5_1.6B_1024px_diffusers": "",
    "Efficient-Large-Model/Sana_1600M_4Kpx_BF16_diffusers": "",
}


@pytest.mark.parametrize(("quick", "expected"), [(True, "bf16"), (False, "fp32")])
def test_what_is_quicker_here(monkeypatch: pytest.MonkeyPatch, quick: bool, expected: str) -> None:
    monkeypatch.setattr(planning, "has_quick_bfloat16", lambda device: quick)
    config = RECIPE
    assert config.precision == "auto"
    assert planning.with_precision(config, "cpu").precision == expected
    assert planning.with_precision(config, "cpu", begun="bf16").precision == "bf16"
    asked = replace(RECIPE, precision="fp32")
    assert planning.with_precision(asked, "cpu", begun="bf16").precision == "fp32"


def test_what_a_run_began_with(tmp_path: Path) -> None:
    assert begun_precision(tmp_path) is None
    (tmp_path / "recipe.yaml").write_text("precision: fp32\n")
    assert begun_precision(tmp_path) is None  # nothing was saved yet
    (tmp_path / "checkpoints" / "step-00000003").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-00000003" / "complete.json").write_text("{}")
    assert begun_precision(tmp_path) == "fp32"


@pytest.mark.parametrize(("init", "reason"), PUBLISHED.items())
def test_weights_of_the_float16_line_are_trained_in_float32(
    monkeypatch: pytest.MonkeyPatch, init: str, reason: str
) -> None:
    monkeypatch.setattr(planning, "has_quick_bfloat16", lambda device: True)
    stage = {"name": "only", "resolutions": [512], "batch_size": 1, "learning_rate": 1e-5, "steps": 1}
    settings = {"type": "transformer", "init": init, "data": {"type": "files", "path": "x"}, "stages": [stage]}
    recipe = build_recipe(settings, name="test")
    assert planning.with_precision(recipe, "cuda").precision == ("fp32" if reason else "bf16")
    asked = replace(recipe, precision="bf16")
    if not reason:
        assert planning.with_precision(asked, "cuda").precision == "bf16"
        return
    with pytest.raises(ConfigError, match=f"not trained in bf16: .*{reason}.*; use precision: fp32"):
        planning.with_precision(asked, "cuda")
    with pytest.raises(ConfigError, match=f"{reason}.*began in bf16.*another --output and precision: fp32"):
        planning.with_precision(recipe, "cuda", begun="bf16")


def test_what_is_said_of_trained_weights_was_done() -> None:
    assert continued_policy(FLOAT16_LINE) == FLOAT16_LINE
    assert continued_policy(BFLOAT16_LINE) == BFLOAT16_LINE
    own = continued_policy(OWN_LINE)
    assert own.dtypes == OWN_LINE.dtypes
    assert own.reason.startswith("these weights were trained on from ones that were")
    assert continued_policy(own) == own
    for dtype in ("bfloat16", "float32"):
        new = trained_policy(dtype)
        assert f"trained in {dtype}" in new.reason
        assert "checked" not in new.reason
