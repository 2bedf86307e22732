"""An autoencoder in shards: encoder and decoder run by themselves, with the gradients of a whole one.

The processes of the test run this very file as a script.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from sanakit.common.ranks import Ranks
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.session import Session
from sanakit.training.step.parallel import checkpoint_activations, spread, whole

CONFIG = DCAutoencoderConfig(
    encoder=stages((16, 16, 32, 32), (0, 1, 1, 1)),
    decoder=stages((16, 16, 32, 32), (0, 1, 1, 1)),
    latent_channels=4,
    down="pixel_unshuffle",
    up="pixel_shuffle",
)


def loss(model: DCAutoencoder, pixels: Tensor) -> Tensor:
    """Calls the halves as the objective of reconstruction does, and the methods as everyone else."""
    halves = model.decoder(model.encoder(pixels))
    return (halves - pixels).square().mean() + model.decode(model.encode(pixels)).square().mean()


def compare() -> None:
    """In one of two processes: float64 gradients of a sharded model, each of whose processes has one picture."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    one = DCAutoencoder(CONFIG).double()
    sharded = DCAutoencoder(CONFIG).double()
    sharded.load_state_dict(one.state_dict())
    checkpoint_activations(sharded)
    config = RunConfig(precision="fp32")
    spread(sharded, Session(config=config, folder=Path(), ranks=Ranks(dist.get_rank(), 2), sharded=True))
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss(one, pixels).backward()
    loss(sharded, pixels[dist.get_rank()][None]).backward()
    for (name, expected), found in zip(one.named_parameters(), sharded.parameters(), strict=True):
        assert expected.grad is not None
        assert found.grad is not None
        torch.testing.assert_close(whole(found.grad), expected.grad, msg=name)
    dist.destroy_process_group()


def test_an_autoencoder_in_shards_has_the_gradients_of_a_whole_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, __file__]
    processes = [
        subprocess.Popen(words, env=shared | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


if __name__ == "__main__":
    compare()
