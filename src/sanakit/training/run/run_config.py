"""What every recipe has in common: precision, parallelism, checkpoints, logs and samples of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sanakit.common.errors import ConfigError

Precision = Literal["bf16", "fp32"]
PrecisionChoice = Literal["auto", "bf16", "fp32"]
Parallel = Literal["auto", "ddp", "fsdp"]
CompileChoice = bool | Literal["auto"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """When a run is saved, and which of the saved states stay."""

    minutes: float | None = 10.0
    steps: int | None = None
    keep_last: int = 2
    keep_every_steps: int | None = None  # these stay for good

    def __post_init__(self) -> None:
        if self.keep_last < 1:
            raise ConfigError(f"checkpoints.keep_last={self.keep_last} must be at least 1: a run continues from it")
        for name in ("minutes", "steps", "keep_every_steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"checkpoints.{name}={value} must be positive, or null for never")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogConfig:
    """How often a line is written, and who else is told."""

    steps: int = 20
    captions: int | None = 500  # steps between tests of right against wrong captions, of transformers; null: never
    report_to: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"log.steps={self.steps} must be at least 1")
        if self.captions is not None and self.captions < 1:
            raise ConfigError(f"log.captions={self.captions} must be at least 1, or null for never")


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleConfig:
    """Pictures of fixed prompts that are made while the run goes on, with the averaged weights."""

    prompts: tuple[str, ...] = ()
    every_steps: int = 500
    steps: int = 20  # of the solver
    guidance_scale: float = 4.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.every_steps < 1 or self.steps < 1:
            raise ConfigError(
                f"samples.every_steps={self.every_steps} and samples.steps={self.steps} must be at least 1"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The settings that the loop itself reads; a recipe is a subclass with what it trains."""

    type: str = ""
    intent: str = ""
    seed: int = 0
    precision: PrecisionChoice = "auto"  # bf16: autocast over float32 master weights; auto: where that is quicker
    parallel: Parallel = "auto"  # of several processes; auto: ddp if a copy of everything fits on each, else fsdp
    activation_checkpointing: bool = False  # compute each block's activations again in the backward pass
    compile: CompileChoice = False  # fuse what lies between matrix products; a minute at the start. auto: where it can
    accept_data: str | None = None  # a fingerprint of other data than a run began with, to go on with it
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    samples: SampleConfig = field(default_factory=SampleConfig)

    def __post_init__(self) -> None:
        if not self.gradient_clip > 0:
            raise ConfigError(f"gradient_clip={self.gradient_clip} must be positive")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay={self.ema_decay} must lie within [0, 1)")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed={self.seed} must be a whole number from 0 to 2**63 - 1")
