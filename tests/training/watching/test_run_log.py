"""The log of a run that continues: lines beyond the checkpoint and half a line go, all others stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

from sanakit.training.watching.run_log import append_log, cut_log


def test_a_continued_log_is_cut_to_its_step(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    cut_log(path, 5)
    assert not path.exists()
    for step in (1, 5, 6):
        append_log(path, {"step": step, "loss": 0.5})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    cut_log(path, 5)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 5]
