"""Two processes that hold a model in shards (FSDP2) step it like one that holds the whole, and save it as one.

The processes of the test run this very file as a script.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from sanakit.common.errors import ConfigError
from sanakit.common.ranks import ALONE, Ranks
from sanakit.training.optimizers.build import build_optimizers
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig, MuonConfig, OptimizerConfig

CONFIGS: dict[str, OptimizerConfig] = {
    "adamw": AdamWConfig(weight_decay=0.1),
    "muon": MuonConfig(weight_decay=0.1),
    "came": CAMEConfig(weight_decay=0.1),
    "came8bit": CAME8BitConfig(weight_decay=0.1, min_8bit_size=20, block_size=8),
}


class Net(nn.Module):
    """Every kind of parameter, with odd numbers of rows, and one with fewer rows than processes."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(33, 7), nn.Linear(7, 19), nn.Linear(19, 1)])
        self.pointwise = nn.Conv2d(3, 5, 1)
        self.depthwise = nn.Conv2d(5, 5, 3, groups=5)
        self.table = nn.Parameter(torch.randn(6, 5))


def begin(config: OptimizerConfig, *, sharded: bool) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    torch.manual_seed(0)
    net = Net()
    if sharded:
        fully_shard(net, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    ranks = Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE
    return net, build_optimizers(net, config, learning_rate=1e-2, ranks=ranks)


def run(net: nn.Module, optimizers: list[torch.optim.Optimizer], steps: range) -> None:
    for step in steps:
        g = torch.Generator().manual_seed(step)
        for p in net.parameters():
            whole = torch.randn(p.shape, generator=g)
            p.grad = distribute_tensor(whole, p.device_mesh, p.placements) if isinstance(p, DTensor) else whole
        for optimizer in optimizers:
            optimizer.step()


def everything(net: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Weights and state by name, whole."""
    found = {name: p.detach() for name, p in net.named_parameters()}
    names = {id(p): name for name, p in net.named_parameters()}
    for optimizer in optimizers:
        for p, state in optimizer.state.items():
            found |= {f"{names[id(p)]}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in found.items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor], name: str) -> None:
    """To float32 rounding; a value on the edge between two codes may round to either."""
    assert first.keys() == second.keys()
    for key, value in first.items():
        if value.dtype == torch.uint8:
            distance = (value.int() - second[key].int()).abs()
            assert distance.max() <= 1, f"{name} {key}"
            assert (distance > 0).float().mean() < 0.02, f"{name} {key}"
        else:
            atol = 1e-4 if name == "came8bit" else 1e-6
            torch.testing.assert_close(value, second[key], rtol=1e-5, atol=atol)


def save_and_load(name: str, folder: Path) -> None:
    """Through torch's own functions, to another model that then continues to the bit."""
    net, optimizers = begin(CONFIGS[name], sharded=True)
    run(net, optimizers, range(3))
    state = {"model": net.state_dict(), "optimizer": get_optimizer_state_dict(net, optimizers)}
    save(state, checkpoint_id=folder)
    other, fresh = begin(CONFIGS[name], sharded=True)
    run(other, fresh, range(7, 8))  # something else to overwrite
    target = {"model": other.state_dict(), "optimizer": get_optimizer_state_dict(other, fresh)}
    load(target, checkpoint_id=folder)
    other.load_state_dict(target["model"])
    set_optimizer_state_dict(other, fresh, target["optimizer"])
    for pair in ((net, optimizers), (other, fresh)):
        run(*pair, range(3, 5))
    first, second = everything(net, optimizers), everything(other, fresh)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert value.dtype == second[key].dtype, key
        assert torch.equal(value, second[key]), f"{name} {key} differs after loading"


def work(folder: Path) -> None:
    for name, config in CONFIGS.items():
        results = []
        for sharded in (False, True):
            pair = begin(config, sharded=sharded)
            run(*pair, range(4))
            results.append(everything(*pair))
        same(results[0], results[1], name)
        save_and_load(name, folder / name)
    mesh = init_device_mesh("cpu", (2,))
    odd = nn.Parameter(distribute_tensor(torch.ones(4, 4), mesh, [Shard(1)]))
    odd.grad = torch.zeros_like(odd)
    model = nn.ParameterList([odd])
    with pytest.raises(ConfigError, match="cut along their first dimension"):
        build_optimizers(model, CAMEConfig(), learning_rate=1e-2)[0].step()


def load_alone(name: str, folder: Path) -> dict[str, Tensor]:
    """One process reads what two have written."""
    net, optimizers = begin(CONFIGS[name], sharded=False)
    run(net, optimizers, range(7, 8))
    state = {"model": net.state_dict(), "optimizer": get_optimizer_state_dict(net, optimizers)}
    load(state, checkpoint_id=folder, no_dist=True)
    net.load_state_dict(state["model"])
    set_optimizer_state_dict(net, optimizers, state["optimizer"])
    run(net, optimizers, range(3, 4))
    return everything(net, optimizers)


def start(folder: Path, rank: int, port: int) -> subprocess.Popen[str]:
    env = {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, __file__, str(folder)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_shards_step_save_and_load_like_the_whole(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [start(tmp_path, rank, port) for rank in (0, 1)]
    outputs = [worker.communicate(timeout=900) for worker in workers]
    for worker, (_, errors) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, errors
    for name, config in CONFIGS.items():
        pair = begin(config, sharded=False)
        run(*pair, range(4))
        same(everything(*pair), load_alone(name, tmp_path / name), name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    work(Path(sys.argv[1]))
    dist.destroy_process_group()
