"""The precision of a run that leaves the choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sanakit.training.recipes import planning
from sanakit.training.recipes.recipe_file import begun_precision
from sanakit.training.run.run_config import RunConfig


@pytest.mark.parametrize(("quick", "expected"), [(True, "bf16"), (False, "fp32")])
def test_what_is_quicker_here(monkeypatch: pytest.MonkeyPatch, quick: bool, expected: str) -> None:
    monkeypatch.setattr(planning, "has_quick_bfloat16", lambda device: quick)
    config: Any = RunConfig()
    assert config.precision == "auto"
    assert planning.with_precision(config, "cpu").precision == expected
    assert planning.with_precision(config, "cpu", begun="bf16").precision == "bf16"
    asked: Any = RunConfig(precision="fp32")
    assert planning.with_precision(asked, "cpu", begun="bf16").precision == "fp32"


def test_what_a_run_began_with(tmp_path: Path) -> None:
    assert begun_precision(tmp_path) is None
    (tmp_path / "recipe.yaml").write_text("precision: fp32\n")
    assert begun_precision(tmp_path) is None  # nothing was saved yet
    (tmp_path / "checkpoints" / "step-00000003").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-00000003" / "complete.json").write_text("{}")
    assert begun_precision(tmp_path) == "fp32"
