"""The trainees of a stage made ready to train: spread over the processes, with optimisers and the average."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from sanakit.common.ranks import Ranks
from sanakit.training.optimizers.build import auto_learning_rate, build_optimizers
from sanakit.training.optimizers.shards import here
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.ema import Ema
from sanakit.training.step.parallel import checkpoint_activations, compile_blocks, spread
from sanakit.training.step.random_state import random_state, restore_random_state
from sanakit.training.step.trainee import Stage, Trainee


@dataclass(slots=True)
class TrainState:
    """Everything of a run that changes with its steps, but for the counters."""

    trainees: tuple[Trainee, ...]
    optimizers: dict[str, list[torch.optim.Optimizer]]  # by trainee
    averages: dict[str, Ema]  # by trainee; the first has one
    learning_rate: float  # at its height
    updates: Counter[str] = field(default_factory=Counter)  # of each trainee in this sitting

    @property
    def first(self) -> Trainee:
        """The one whose average is shipped."""
        return self.trainees[0]

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network by name, companions behind who has them: ``student``, ``student.teacher``."""
        named: dict[str, nn.Module] = {}
        for trainee in self.trainees:
            named[trainee.name] = trainee.model
            named |= {f"{trainee.name}.{name}": network for name, network in trainee.companions.items()}
        return named

    def set_rate(self, factor: float) -> float:
        rate = self.learning_rate * factor
        for trainee in self.trainees:
            for optimizer in self.optimizers[trainee.name]:
                for group in optimizer.param_groups:
                    group["lr"] = rate * trainee.rate
        return rate

    def update(self, trainee: Trainee) -> None:
        """Take a step along the gradient that its model holds, and follow with the average."""
        for optimizer in self.optimizers[trainee.name]:
            optimizer.step()
        self.updates[trainee.name] += 1
        if trainee.name in self.averages:
            self.averages[trainee.name].update(trainee.model)

    def put_averages(self) -> None:
        """Write the averages into the models, for good."""
        for trainee in self.trainees:
            if trainee.name in self.averages:
                self.averages[trainee.name].copy_to(trainee.model)

    def tensors(self, ranks: Ranks) -> dict[str, Tensor]:
        """All that a checkpoint holds, by name: weights, averages, optimisers, and this process's random generators."""
        named: dict[str, Tensor] = {}
        for trainee in self.trainees:
            named |= _named(f"model.{trainee.name}", trainee.model.state_dict())
            for companion, network in trainee.companions.items():
                named |= _named(f"companion.{trainee.name}.{companion}", network.state_dict())
            for name, state, key in _optimizer_values(trainee, self.optimizers[trainee.name]):
                value = state[key]
                named[name] = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        for name, average in self.averages.items():
            named |= _named("ema" if name == self.first.name else f"average.{name}", average.shadow)
        return named | _named(f"rng.{ranks.rank}", random_state())

    def create_optimizer_state(self, saved: Collection[str]) -> None:
        """Let optimisers make their tensors, for a checkpoint with these names to fill; one that had taken no step when
        it was written has none there."""
        begun = {tuple(name.split(".")[1:3]) for name in saved if name.startswith("optimizer.")}
        for trainee, optimizers in self.optimizers.items():
            for index, optimizer in enumerate(optimizers):
                if (trainee, str(index)) in begun:
                    _create_state(optimizer)

    def restore_values(self, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
        """Take from what ``tensors`` gave and a checkpoint filled all that is not a tensor filled in place."""
        for trainee in self.trainees:
            for name, state, key in _optimizer_values(trainee, self.optimizers[trainee.name]):
                if not isinstance(state[key], Tensor):
                    state[key] = type(state[key])(tensors[name].item())
        own = f"rng.{ranks.rank}."
        restore_random_state({n.removeprefix(own): t for n, t in tensors.items() if n.startswith(own)})


def assemble(session: Session, stage: Stage, before: TrainState | None) -> TrainState:
    """Spread the models, build optimisers and averages or keep those of the stage before."""
    config = session.config
    for trainee in stage.trainees:
        if before is None and config.compile:
            compile_blocks(trainee.model)
        for network in (trainee.model, *trainee.companions.values(), *trainee.around):
            if config.activation_checkpointing:
                checkpoint_activations(network)
            spread(network, session)
    kept = before.optimizers if before is not None and stage.keep_optimizer else {}
    optimizers = {
        trainee.name: kept.get(trainee.name)
        or build_optimizers(
            trainee.model, trainee.optimizer, learning_rate=stage.config.learning_rate, ranks=session.ranks
        )
        for trainee in stage.trainees
    }
    rate = highest_rate(stage.config, session.ranks)
    return TrainState(stage.trainees, optimizers, _averages(stage.trainees, before, config.ema_decay), rate)


def _averages(trainees: tuple[Trainee, ...], before: TrainState | None, decay: float) -> dict[str, Ema]:
    """Of the first trainee and of those that ask; who is trained on keeps the one of the stage before."""
    earlier = {} if before is None else {id(t.model): before.averages.get(t.name) for t in before.trainees}
    averages = {}
    for index, trainee in enumerate(trainees):
        if not index or trainee.average is not None:
            average = averages[trainee.name] = earlier.get(id(trainee.model)) or Ema(trainee.model)
            average.decay = decay if trainee.average is None else trainee.average
    return averages


def highest_rate(config: StageConfig, ranks: Ranks) -> float:
    """The learning rate between warm-up and decay, for the samples of a whole step."""
    samples = config.batch_size * config.accumulation * ranks.world
    return auto_learning_rate(config.learning_rate, effective_batch=samples, rule=config.auto_lr)


def fingerprint(model: nn.Module) -> int:
    """A number that changes with any bit of this process's trained weights."""
    value = 0
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # a forward pass without a backward one leaves some put together
    for p in model.parameters():
        if p.requires_grad:
            part = here(p.detach()).cpu().contiguous()
            value = zlib.crc32(part.view(-1).view(torch.uint8).numpy().data, value) if part.numel() else value
    return value


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _optimizer_values(
    trainee: Trainee, optimizers: list[torch.optim.Optimizer]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name and place (a dictionary and its key) of every tensor and number that an optimiser keeps of a parameter."""
    names = {id(p): name for name, p in trainee.model.named_parameters()}
    for index, optimizer in enumerate(optimizers):
        for p, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, (Tensor, int, float)):
                    yield f"optimizer.{trainee.name}.{index}.{names[id(p)]}.{key}", state, key


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
