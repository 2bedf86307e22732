"""The trainees of a stage made ready to train: spread over the processes, with optimisers and the average."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.common.ranks import Ranks
from sanakit.training.optimizers import auto_learning_rate, build_optimizers
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.stage import Stage, StageConfig, Trainee
from sanakit.training.saving.checkpoint import load_tensors, saved_names
from sanakit.training.step.ema import Ema, local
from sanakit.training.step.parallel import spread
from sanakit.training.step.random_state import random_state, restore_random_state


@dataclass(slots=True)
class TrainState:
    """Everything of a run that changes with its steps, but for the counters."""

    trainees: tuple[Trainee, ...]
    optimizers: dict[str, list[torch.optim.Optimizer]]  # by trainee
    ema: Ema  # of the first trainee
    learning_rate: float  # at its height

    def set_rate(self, factor: float) -> float:
        rate = self.learning_rate * factor
        for optimizers in self.optimizers.values():
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
        return rate

    def tensors(self, ranks: Ranks) -> dict[str, Tensor]:
        """All that a checkpoint holds, by name: weights, average, optimisers, and this process's random generators."""
        named = {
            f"model.{trainee.name}.{name}": tensor
            for trainee in self.trainees
            for name, tensor in trainee.model.state_dict().items()
        }
        named |= {f"ema.{name}": tensor for name, tensor in self.ema.shadow.items()}
        for trainee in self.trainees:
            for name, tensor, _ in _optimizer_values(trainee, self.optimizers[trainee.name]):
                named[name] = tensor
        return named | {f"rng.{ranks.rank}.{name}": tensor for name, tensor in random_state().items()}

    def load(self, path: Path, ema_step: int, *, ranks: Ranks) -> None:
        """Continue from a checkpoint; a process that was not there when it was written keeps its random state."""
        for optimizers in self.optimizers.values():
            for optimizer in optimizers:
                _create_state(optimizer)
        tensors = self.tensors(ranks)
        saved, own = saved_names(path), f"rng.{ranks.rank}."
        tensors = {name: t for name, t in tensors.items() if not name.startswith(own) or name in saved}
        load_tensors(path, tensors, ranks=ranks)
        for trainee in self.trainees:
            for name, _, write in _optimizer_values(trainee, self.optimizers[trainee.name]):
                write(tensors[name])
        self.ema.step = ema_step
        restore_random_state({n.removeprefix(own): t for n, t in tensors.items() if n.startswith(own)})


def assemble(stage: Stage, before: TrainState | None, config: RunConfig, *, ranks: Ranks, sharded: bool) -> TrainState:
    """Spread the models, build their optimisers or keep those of the stage before, and follow the first trainee."""
    for trainee in stage.trainees:
        spread(trainee.model, ranks=ranks, sharded=sharded, precision=config.precision)
    first = stage.trainees[0].model
    keep = before is not None and stage.keep_optimizer
    optimizers = {}
    for trainee in stage.trainees:
        if before is not None and keep and trainee.name in before.optimizers:
            optimizers[trainee.name] = before.optimizers[trainee.name]
        else:
            optimizers[trainee.name] = build_optimizers(
                trainee.model, trainee.optimizer, learning_rate=stage.config.learning_rate
            )
    same = before is not None and before.trainees[0].model is first
    ema = before.ema if before is not None and same else Ema(first, config.ema_decay)
    return TrainState(stage.trainees, optimizers, ema, highest_rate(stage.config, ranks))


def highest_rate(config: StageConfig, ranks: Ranks) -> float:
    """The learning rate between warm-up and decay, for the samples of a whole step."""
    samples = config.batch_size * config.accumulation * ranks.world
    return auto_learning_rate(config.learning_rate, effective_batch=samples, rule=config.auto_lr)


def fingerprint(model: nn.Module) -> int:
    """A number that changes with any bit of this process's trained weights."""
    value = 0
    for p in model.parameters():
        if p.requires_grad:
            part = local(p.detach()).cpu().contiguous()
            value = zlib.crc32(part.view(-1).view(torch.uint8).numpy().data, value) if part.numel() else value
    return value


def _optimizer_values(
    trainee: Trainee, optimizers: list[torch.optim.Optimizer]
) -> Iterator[tuple[str, Tensor, Callable[[Tensor], None]]]:
    """Name, value and how to put a value back, of everything that an optimiser remembers of a parameter."""
    names = {id(p): name for name, p in trainee.model.named_parameters()}
    for index, optimizer in enumerate(optimizers):
        for p, state in optimizer.state.items():
            for key, value in state.items():
                name = f"optimizer.{trainee.name}.{index}.{names[id(p)]}.{key}"
                if isinstance(value, Tensor):
                    yield name, value, lambda tensor: None  # filled in place
                elif isinstance(value, (int, float)):
                    yield name, torch.tensor(value, dtype=torch.float64), _setter(state, key, type(value))


def _setter(state: dict[str, Any], key: str, kind: Callable[[float], Any]) -> Callable[[Tensor], None]:
    def write(tensor: Tensor) -> None:
        state[key] = kind(tensor.item())

    return write


def _create_state(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser make its tensors, by a step of zero gradient and zero rate; the weights are loaded after it."""
    if optimizer.state:
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
