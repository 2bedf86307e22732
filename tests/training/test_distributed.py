"""Two processes that share the work do what one does with the whole of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sanakit.training.distributed import Ranks, agree, average_gradients, broadcast_parameters

WORKER = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from sanakit.training.distributed import agree, process_group
from sanakit.training.loop import LoopConfig, train

folder, config = Path(sys.argv[1]), LoopConfig(batch_size=int(sys.argv[2]), learning_rate=0.02, steps=4, log_steps=1)
with process_group() as ranks:
    torch.manual_seed(ranks.rank)  # different weights: the first one's must be everybody's
    model = nn.Linear(3, 2)
    size = config.batch_size

    def step(number):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
        x = x[ranks.rank * size : (ranks.rank + 1) * size]
        return {"loss": (model(x) - x[:, :2].sin()).square().mean()}

    result = train(model, step, config, folder, ranks=ranks)
    agreed = agree(ranks.rank + 7.0, ranks)
    print(json.dumps({"weight": model.weight.tolist(), "samples": result.samples, "agreed": agreed}))
"""


def start(folder: Path, rank: int, world: int, port: int) -> subprocess.Popen[str]:
    env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
           "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
           "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WORKER, str(folder), str(8 // world)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(folder: Path, world: int) -> list[dict[str, object]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [start(folder, rank, world, port) for rank in range(world)]
    outputs = [worker.communicate(timeout=300) for worker in workers]
    for worker, (_, errors) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    (alone,) = results(tmp_path / "one", 1)
    first, second = results(tmp_path / "two", 2)
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
    assert agree(3.5, Ranks()) == pytest.approx(3.5)
