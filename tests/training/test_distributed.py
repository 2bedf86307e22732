"""Two processes that share the work, as copies or as shards, do what one does with the whole of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from sanakit.common.ranks import (
    LostProcessError,
    Ranks,
    agree,
    any_rank,
    broadcast_parameters,
    process_group,
    sum_gradients,
)
from sanakit.training.watching.report import read_log

Launch = Callable[..., list[subprocess.Popen[str]]]


def check_ended(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder / "log.jsonl")]


@pytest.mark.parametrize(
    "sharded", [pytest.param(False, id="ddp", marks=pytest.mark.slow), pytest.param(True, id="fsdp")]
)
def test_two_processes_train_a_transformer_like_one_with_twice_the_accumulation(
    tmp_path: Path, toy: ModuleType, launch: Launch, sharded: bool
) -> None:
    settings = {"model": "dit", "steps": 5, "save_steps": 3}
    processes = launch([tmp_path / "two", json.dumps({**settings, "sharded": sharded})], world=2)
    toy.run(tmp_path / "one", toy.Settings(**settings, accumulation=2))
    check_ended(processes)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-5)
    assert [line["samples"] for line in read_log(tmp_path / "two" / "log.jsonl")] == [8, 16, 24, 32, 40]
    if sharded:  # what two wrote in shards, one continues
        toy.run(tmp_path / "two", toy.Settings(**{**settings, "steps": 7}, accumulation=2))
        toy.run(tmp_path / "one", toy.Settings(**{**settings, "steps": 7}, accumulation=2))
        assert losses(tmp_path / "two")[5:] == pytest.approx(losses(tmp_path / "one")[5:], rel=2e-4)


@pytest.mark.parametrize("sharded", [pytest.param(False, id="ddp", marks=pytest.mark.slow), True])
def test_two_processes_distil_like_one_with_twice_the_accumulation(
    tmp_path: Path, toy: ModuleType, launch: Launch, sharded: bool
) -> None:
    """The forward mode of a student in shards, a frozen teacher in shards, and the judge's own state."""
    settings = {"model": "sprint", "steps": 2, "save_steps": 2}
    processes = launch([tmp_path / "two", json.dumps({**settings, "sharded": sharded})], world=2)
    toy.run(tmp_path / "one", toy.Settings(**settings, accumulation=2))
    check_ended(processes)
    two, one = (read_log(tmp_path / name / "log.jsonl") for name in ("two", "one"))
    for index, names in enumerate([("loss", "tangent", "adversarial"), ("heads/loss", "heads/gradient_norm")]):
        for name in names:
            assert two[index][name] == pytest.approx(one[index][name], rel=1e-4)


@pytest.mark.slow
def test_an_autoencoder_is_trained_in_shards_like_the_whole(tmp_path: Path, toy: ModuleType, launch: Launch) -> None:
    """Whose weights lie channels last until they are cut."""
    settings = {"model": "autoencoder", "steps": 3, "save_steps": 3}
    processes = launch([tmp_path / "two", json.dumps({**settings, "sharded": True})], world=2)
    toy.run(tmp_path / "one", toy.Settings(**settings, accumulation=2))
    check_ended(processes)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_every_optimizer_steps_shards_like_the_whole(tmp_path: Path, toy: ModuleType, launch: Launch) -> None:
    """In float64: CAME divides by the root of squared gradients, so float32 gradients that are rounding alone drift."""
    names = ["adamw", "came", "came8bit", "muon"]
    processes = launch([tmp_path / "two", json.dumps(names)], world=2)
    toy.run_float64(tmp_path / "one", names, accumulation=2)
    check_ended(processes)
    for name in names:
        assert losses(tmp_path / "two" / name) == pytest.approx(losses(tmp_path / "one" / name), rel=1e-9), name


def test_one_process_needs_no_group() -> None:
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    gradient = model.weight.grad.clone()
    broadcast_parameters(model, Ranks())
    sum_gradients(model.parameters(), Ranks())
    assert torch.equal(model.weight.grad, gradient)
    assert agree(3.5, Ranks()) == 3.5
    assert any_rank(True, Ranks())
    assert not any_rank(False, Ranks())


UNDER_TORCHRUN = {
    "WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}  # fmt: skip


def test_each_process_takes_its_own_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    for name, value in {**UNDER_TORCHRUN, "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", calls.append)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    with process_group() as ranks:
        assert ranks == Ranks(3, 4)
    assert calls == [3, "cpu:gloo,cuda:nccl"]  # the device first: NCCL binds to the current one


def test_a_process_that_is_gone_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    for name, value in UNDER_TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: ended.append(True))
    with pytest.raises(LostProcessError, match="another process of the run ended"), process_group():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:27567.")
    with pytest.raises(RuntimeError, match="out of memory"), process_group():
        raise RuntimeError("out of memory")  # of another kind
    assert ended == [True, True]
