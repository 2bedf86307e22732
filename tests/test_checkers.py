"""The formatter, the linter and the type checker have nothing to say. `.pre-commit-config.yaml` runs the same three."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command", ["ruff check .", "ruff format --check .", "mypy"], ids=["linter", "formatter", "types"]
)
def test_nothing_to_say(command: str) -> None:
    tool, *arguments = command.split()
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed; pip install -c constraints.txt -e '.[dev]' brings it")
    result = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_commit_is_checked_by_the_same_three() -> None:
    [here] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in here["hooks"]] == ["ruff format", "ruff check --fix", "mypy"]
    assert {hook["language"] for hook in here["hooks"]} == {"system"}  # nothing is fetched
