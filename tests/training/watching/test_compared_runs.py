"""Runs that learned from rewards beside each other: equal budgets, who is first where, and folders that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from sanakit.cli.app import main
from sanakit.common.errors import RequestError
from sanakit.training.watching.compared_runs import compare_runs, read_run


def write_run(folder: Path, gain: float, *, steps: int, explore: bool = False) -> Path:
    """Whose reward grows by ``gain`` in each of its steps of ten CPU seconds."""
    (folder / "rollouts").mkdir(parents=True)
    explored = {"candidates": 4} if explore else None
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"algorithm": {"type": "grpo"}, "explore": explored}))
    lines: list[dict[str, Any]] = [
        {"step": step, "samples": 8 * step, "cpu_seconds": 10.0 * step, "reward": gain * step} for step in range(steps)
    ]
    lines[-1] |= {"held_out/a": 0.5, "held_out/a low": 0.1, "held_out/a high": 0.9, "held_out/b": 1.0}
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    table = pa.table({"stage": ["full", "full", *["explore"] * 3 * explore]})
    pq.write_table(table, folder / "rollouts" / "iteration-000000.parquet")
    return folder


def test_all_have_the_budget_of_the_shortest(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "plain", 0.1, steps=21)
    quick = write_run(tmp_path / "quick", 0.25, steps=11, explore=True)
    first, second = compare_runs([plain, quick], tmp_path / "out")
    assert (first["steps"], second["steps"]) == (10, 10)
    assert first["reward"]["mean"] == pytest.approx(0.95)  # of steps 9 and 10
    assert second["reward"]["mean"] == pytest.approx(0.25 * 9.5)
    assert (first["reward of plain after"], second["reward of plain after"]) == (100, 40)
    assert (first["held_out"], second["held_out"]["mean"]) == (None, 0.75)  # the first was tested later
    assert second["pictures"] == {"full": 2, "explore": 3}
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| quick | grpo exploring | 10 | 2 full, 3 explore |" in page
    assert "after 100 CPU seconds" in page
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "report.json").read_text())["budget"] == 100


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "alone", 0.1, steps=3)
    assert main(["eval", "runs", str(run), "--output", str(tmp_path / "out")]) == 0
    assert any(line.startswith("| alone | grpo |") for line in capsys.readouterr().out.splitlines())


def test_folders_that_are_no_such_runs(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder of a run"):
        read_run(tmp_path)
    run = write_run(tmp_path / "a", 0.1, steps=3)
    (tmp_path / "b").mkdir()
    with pytest.raises(RequestError, match="two of these runs have folders of one name"):
        compare_runs([run, write_run(tmp_path / "b" / "a", 0.1, steps=3)], tmp_path / "out")
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2}')
    with pytest.raises(RequestError, match="tells of none"):
        read_run(run)
    (run / "log.jsonl").write_text('{"step": 1, "reward": 2, "seconds": 3}')
    with pytest.raises(RequestError, match="did not count CPU seconds"):
        read_run(run)
    (run / "log.jsonl").write_text("{")
    with pytest.raises(RequestError, match="cannot be read"):
        read_run(run)
