"""A run in miniature: a small network, samples that follow from their number, and the whole loop around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.training.optimizers import AdamWConfig, OptimizerConfig
from sanakit.training.run_config import CheckpointConfig, LogConfig, RunConfig
from sanakit.training.stage import PlannedStage, Player, Stage, StageConfig

NUM_SAMPLES = 22  # an epoch of micro-batches of 4 has a smaller last one


@dataclass(frozen=True, slots=True)
class ToyBatch:
    keys: Tensor
    x: Tensor

    def to(self, device: str) -> ToyBatch:
        return ToyBatch(self.keys.to(device), self.x.to(device))


class ToyData:
    """An endless stream over ``NUM_SAMPLES`` numbered samples, in the same order in every epoch.

    Args:
        taken: is told the keys of each micro-batch that is made.
    """

    def __init__(self, batch_size: int, taken: Callable[[int, list[int]], None] = lambda number, keys: None) -> None:
        self.batch_size, self.taken = batch_size, taken
        self.num_batches = -(-NUM_SAMPLES // batch_size)

    def keys(self, number: int) -> list[int]:
        start = number % self.num_batches * self.batch_size
        return list(range(start, min(start + self.batch_size, NUM_SAMPLES)))

    def num_samples(self, number: int) -> int:
        return len(self.keys(number))

    def batch(self, number: int) -> ToyBatch:
        keys = self.keys(number)
        self.taken(number, keys)
        rows = [torch.randn(3, generator=torch.Generator().manual_seed(key)) for key in keys]
        return ToyBatch(torch.tensor(keys), torch.stack(rows))


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def toy_loss(model: nn.Module) -> Callable[[ToyBatch, torch.Generator], dict[str, Tensor]]:
    """Fit a fixed function under a little noise; noise and an own random number show that generators are kept."""

    def loss(batch: ToyBatch, generator: torch.Generator) -> dict[str, Tensor]:
        # one draw per sample, so that the noise is that of the sample whatever the micro-batch is
        noise = torch.stack([
            torch.randn(3, generator=torch.Generator().manual_seed(int(key) + generator.initial_seed() % 1))
            for key in batch.keys
        ])
        error = (model(batch.x + 0.1 * noise) - batch.x.prod(-1, keepdim=True)).square().mean(-1)
        sigma = torch.linspace(0.05, 0.95, len(error))
        return {"loss": error.mean(), "twice": 2 * error.mean(), "per_sample": error.detach(), "sigma": sigma}

    return loss


def toy_config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "precision": "fp32", "ema_decay": 0.9, "log": LogConfig(steps=1, report_to=()),
        "checkpoints": CheckpointConfig(minutes=None),
    }
    return RunConfig(**{**settings, **changes})


def toy_stage(
    model: nn.Module, config: StageConfig, *, optimizer: OptimizerConfig | None = None,
    taken: Callable[[int, list[int]], None] = lambda number, keys: None, keep_optimizer: bool = True,
) -> PlannedStage:
    player = Player("toy", model, toy_loss(model), optimizer or AdamWConfig())
    return PlannedStage(config, lambda: Stage(config, ToyData(config.batch_size, taken), (player,), keep_optimizer))
