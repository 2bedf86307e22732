"""Two processes that share the work do what one does with the whole of it.

The processes of the test run this very file as a script.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sanakit.training.distributed import Ranks, agree, average_gradients, broadcast_parameters, process_group
from sanakit.training.loop import LoopConfig, train


def work(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Four steps on eight samples each, shared among the processes."""
    torch.manual_seed(ranks.rank)  # different weights: the first process's must become everybody's
    model, size = nn.Linear(3, 2), 8 // ranks.world
    config = LoopConfig(batch_size=size, learning_rate=0.02, steps=4, log_steps=1)

    def step(number: int) -> Mapping[str, Tensor]:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
        x = x[ranks.rank * size : (ranks.rank + 1) * size]
        return {"loss": (model(x) - x[:, :2].sin()).square().mean()}

    result = train(model, step, config, folder, ranks=ranks)
    return {"weight": model.weight.tolist(), "samples": result.samples, "agreed": agree(ranks.rank + 7.0, ranks)}


def start(folder: Path, rank: int, port: int) -> subprocess.Popen[str]:
    env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
           "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, str(folder)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [start(tmp_path / "two", rank, port) for rank in (0, 1)]
    alone = work(tmp_path / "one", Ranks())
    outputs = [worker.communicate(timeout=900) for worker in workers]
    for worker, (_, errors) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, errors
    first, second = (json.loads(output.splitlines()[-1]) for output, _ in outputs)
    assert first["weight"] == second["weight"]
    assert first["samples"] == second["samples"] == alone["samples"] == 32
    torch.testing.assert_close(torch.tensor(first["weight"]), torch.tensor(alone["weight"]), rtol=1e-5, atol=1e-6)
    assert first["agreed"] == second["agreed"] == 7.0
    assert len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 4  # the first process alone writes


def test_one_process_needs_no_group() -> None:
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    gradient = model.weight.grad.clone()
    broadcast_parameters(model, Ranks())
    average_gradients(model.parameters(), Ranks())
    assert torch.equal(model.weight.grad, gradient)
    assert agree(3.5, Ranks()) == 3.5


def test_each_process_takes_its_own_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    for name, value in {"WORLD_SIZE": "4", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", calls.append)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    with process_group() as ranks:
        assert ranks == Ranks(3, 4)
    assert calls == [3, "cpu:gloo,cuda:nccl"]  # the device first: NCCL binds to the current one


if __name__ == "__main__":
    with process_group() as joined:
        print(json.dumps(work(Path(sys.argv[1]), joined)))
