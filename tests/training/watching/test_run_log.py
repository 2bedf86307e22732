"""The log of a run that continues: lines beyond the checkpoint and half a line go, all others stay as they are."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from sanakit.common.errors import OutputError
from sanakit.training.run.run_lock import only_sitting
from sanakit.training.step.step import Outcome
from sanakit.training.watching.run_log import Window, append_log, cut_log


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


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"the log .*none.log.jsonl cannot be written \(No such file"):
        append_log(tmp_path / "none" / "log.jsonl", {"step": 1})


def outcome(loss: float, norm: float) -> Outcome:
    return Outcome(terms={"loss": loss}, gradient_norm=norm)


def test_means_are_over_the_steps_that_had_a_term_and_skipped_ones_are_counted() -> None:
    window = Window()
    seconds = {"data": 1.0, "compute": 2.0, "optimizer": 0.5, "other": 0.5}
    window.add({"a": outcome(1.0, 4.0), "b": outcome(5.0, 1.0)}, 8, seconds, first="a")
    window.add({"a": outcome(3.0, 2.0)}, 8, seconds, first="a")
    window.add({"a": outcome(float("nan"), 1.0), "b": outcome(7.0, float("inf"))}, 4, seconds, first="a")
    assert window.means() == {"loss": 2.0, "gradient_norm": 3.0, "b/loss": 5.0, "b/gradient_norm": 1.0}
    assert window.skipped == {"skipped": 1, "b/skipped": 1}
    assert window.speed() == {
        "samples_per_second": 20 / 12, "data_seconds": 1.0, "compute_seconds": 2.0, "optimizer_seconds": 0.5,
        "other_seconds": 0.5,
    }  # fmt: skip
    again = Window(json.loads(json.dumps(window.to_json())))
    assert again.to_json() == window.to_json()
    again.add({"a": outcome(8.0, 1.0)}, 4, {}, first="a")
    assert again.means()["loss"] == 4.0
    assert (again.steps, again.samples) == (4, 24)


def test_what_a_window_saved_before_terms_were_counted_is_over_all_its_steps() -> None:
    assert Window({"steps": 4, "sums": {"loss": 2.0}}).means() == {"loss": 0.5}
    empty = Window()
    assert (empty.means(), empty.bands(), empty.steps, empty.samples) == ({}, {}, 0, 0)


def test_bands_of_several_processes_are_added_where_fewer_go_on() -> None:
    bands = [[float(number)] * 20 for number in (1, 2)]
    assert Window({"bands": bands}).buckets.numbers == [3.0] * 20
    with pytest.raises(ValueError, match="zip"):
        Window({"bands": [[1.0] * 20, [1.0] * 19]})


def test_the_lock_of_a_run_names_its_holder_and_is_emptied(tmp_path: Path) -> None:
    with only_sitting(tmp_path / "run"):
        text = (tmp_path / "run" / ".lock").read_text()
        assert text.startswith(f"process {os.getpid()} on {socket.gethostname()} since 20")
    assert (tmp_path / "run" / ".lock").read_text() == ""
