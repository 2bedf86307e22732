"""A run that is killed and continued is the run that was not, to the bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from sanakit.common.ranks import Ranks
from sanakit.training.saving.checkpoint import find_checkpoint, newest, read_state, saved_names
from sanakit.training.watching.run_log import CLOCKS

Launch = Callable[..., list[subprocess.Popen[str]]]


def tensors(folder: Path) -> dict[str, Tensor]:
    """All that the last checkpoint of a run holds."""
    path = newest(folder / "checkpoints")
    assert path is not None
    metadata = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
    state = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in metadata.items()}
    dcp.load(state, storage_reader=dcp.FileSystemReader(path), no_dist=True)
    return state


def curve(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log, but for what the clock says."""
    lines = [json.loads(text) for text in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCKS} for line in lines]


def assert_same(folder: Path, other: Path) -> None:
    first, second = tensors(folder), tensors(other)
    assert first.keys() == second.keys()
    assert any(name.startswith("optimizer.") for name in first)
    assert any(name.startswith("rng.") for name in first)
    for name, tensor in first.items():
        assert torch.equal(tensor.nan_to_num(), second[name].nan_to_num()), name
    assert curve(folder) == curve(other)
    states = [read_state(newest(place / "checkpoints"))["run"] for place in (folder, other)]
    assert [state["position"] for state in states] == [states[0]["position"]] * 2


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    outputs = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in outputs]


def kill_after(processes: list[subprocess.Popen[str]], step: int, number: int = signal.SIGKILL) -> None:
    """Wait for the line of the step, then send all of them the signal."""
    assert processes[0].stdout is not None
    for line in processes[0].stdout:
        if int(line) >= step:
            break
    for process in processes:
        os.kill(process.pid, number)
    for process in processes:
        process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("seed", "settings"),
    [pytest.param(1, {"steps": 7, "optimizer": "muon", "save_steps": 2, "log_steps": 3}, marks=pytest.mark.slow),
     (2, {"steps": 6, "batch_size": 5, "accumulation": 2, "num_samples": 31, "optimizer": "came", "save_steps": 3})],
)  # fmt: skip
def test_killed_at_a_random_step_and_continued(
    tmp_path: Path, toy: ModuleType, launch: Launch, seed: int, settings: dict[str, Any]
) -> None:
    settings |= {"seed": seed}
    toy.run(tmp_path / "whole", toy.Settings(**settings))
    words = [tmp_path / "killed", json.dumps({**settings, "pause": 0.05})]
    kill_after(launch(words), random.Random(seed).randint(1, settings["steps"] + 2))
    toy.run(tmp_path / "killed", toy.Settings(**settings))
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_two_processes_killed_and_continued(tmp_path: Path, launch: Launch) -> None:
    settings = {"steps": 6, "seed": 3, "save_steps": 2, "log_steps": 3}  # killed in the middle of a line of the log
    finish(launch([tmp_path / "whole", json.dumps(settings)], world=2))
    kill_after(launch([tmp_path / "killed", json.dumps({**settings, "pause": 0.05})], world=2), 5)
    finish(launch([tmp_path / "killed", json.dumps(settings)], world=2))
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_two_then_one_then_two_processes_take_every_sample_once(
    tmp_path: Path, toy: ModuleType, launch: Launch
) -> None:
    settings = {"batch_size": 2, "num_samples": 37, "epochs": 1.0, "save_steps": 1, "pause": 0.2}
    words = [tmp_path / "run", json.dumps(settings)]
    kill_after(launch(words, world=2), 2, signal.SIGTERM)
    two = position(tmp_path / "run")
    kill_after(launch(words), two // 2 + 3, signal.SIGTERM)
    one = position(tmp_path / "run")
    assert 0 < two < one < 19
    finish(launch([tmp_path / "run", json.dumps({**settings, "pause": 0.0})], world=2))
    assert position(tmp_path / "run") == 19  # ceil(37 / 2) micro-batches
    data = toy.ToyData(37, 2)
    line = curve(tmp_path / "run")[-1]
    assert line["samples"] == 37
    taken = [key for number in range(19) for key in data.keys(number)]
    assert sorted(taken) == list(range(37))
    made = {}
    for rank in (0, 1):
        for text in (tmp_path / f"run-keys-{rank}").read_text().splitlines():
            number, keys = json.loads(text)
            made[number] = keys
    assert made.keys() == set(range(19))
    assert all(made[number] == data.keys(number) for number in made)


def position(folder: Path) -> int:
    return int(read_state(newest(folder / "checkpoints"))["run"]["position"])


def test_sigterm_saves_and_says_so(tmp_path: Path, launch: Launch) -> None:
    [process] = launch([tmp_path / "run", json.dumps({"pause": 0.05, "save_steps": 100})])
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "stopped by SIGTERM after step" in errors
    path = find_checkpoint(tmp_path / "run" / "checkpoints", Ranks())
    assert path is not None
    assert {"ema.0.weight", "model.toy.0.weight", "rng.0.torch"} <= saved_names(path)
