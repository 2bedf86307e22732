"""Who is trained in a stage, on which micro-batches, and how they meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.training.optimizers.config import OptimizerConfig
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.feeds import Feed

Made = dict[str, Tensor]
"""What trainees hand on of one micro-batch, such as a generator its pictures to a discriminator that steps after it;
the loop begins it with ``step``, the number of the stage's step from 0."""

Loss = Callable[[Any, torch.Generator, Made], Mapping[str, Tensor]]
"""A micro-batch (on the device), the generator of its noise and what was handed on to terms: ``loss`` is minimised,
other scalars are logged; ``per_sample`` and ``sigma``, both ``(B,)``, feed the curve of loss against noise level."""

CheckData = Callable[[str, dict[str, str]], None]
"""Whose data it is, in words, and the fingerprints of its parts; raises if the run was trained on other data so far."""


@dataclass(frozen=True, slots=True)
class Trainee:
    """A network, what it minimises, and how.

    Attributes:
        name: "generator", "discriminator", "transformer".
        model: its parameters with ``requires_grad`` are trained.
        constants: tensors that the loss knows beside model and batch; a bundle of the guard keeps them.
        every: steps of the stage to one of its own.
        turn: which of them it takes, from 0; None: the last.
        rate: its learning rate as a multiple of the stage's.
        clip: the norm of its gradient at most; None: the recipe's.
        average: decay of a running average of its weights; None: the recipe's for the first trainee of a stage, and
            none for the others.
        companions: networks that go with it and are not trained by an optimiser, such as a reference or earlier
            weights; checkpoints keep them.
        around: frozen networks that the model is a part of, such as the one that an adapter is beside: sharded and
            recomputed like it, and not in checkpoints.
        on_bad: what a loss or gradient that is not finite does: "stop" the run, or "skip" the step, which is counted.
    """

    name: str
    model: nn.Module
    loss: Loss
    optimizer: OptimizerConfig
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    every: int = 1
    turn: int | None = None
    rate: float = 1.0
    clip: float | None = None
    average: float | None = None
    companions: Mapping[str, nn.Module] = field(default_factory=dict)
    around: tuple[nn.Module, ...] = ()
    on_bad: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        if self.every < 1 or not self.rate > 0 or (self.clip is not None and not self.clip > 0):
            raise ConfigError(
                f"{self.name}: every={self.every} must be at least 1, rate={self.rate} and clip={self.clip} positive"
            )
        if self.turn is not None and not 0 <= self.turn < self.every:
            raise ConfigError(f"{self.name}: turn={self.turn} must lie from 0 to below every={self.every}")
        if self.average is not None and not 0 <= self.average < 1:
            raise ConfigError(f"{self.name}: average={self.average} must lie within [0, 1)")

    def takes(self, step: int) -> bool:
        """Whether it takes part in a step of the stage, counted from 0."""
        return step % self.every == (self.every - 1 if self.turn is None else self.turn)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that has begun: its data is there."""

    config: StageConfig
    feed: Feed[Any]
    trainees: tuple[Trainee, ...]  # step one after the other on the same micro-batches; the first has the average
    keep_optimizer: bool  # continue the previous stage's optimiser state, or begin anew because others are trained
    test: Callable[[], Mapping[str, float]] | None = None  # of the first trainee, for the log; all processes must call
    accept: Callable[[], None] | None = None  # of the averaged weights at its end; raises if the run must not go on


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage to come; ``build`` is called when it begins, so that its features are cached only then.

    It tells the fingerprints of its data before anything is computed from that.
    """

    config: StageConfig
    build: Callable[[CheckData], Stage]
