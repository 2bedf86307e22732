"""A stretch of a run as plain values: how long, in which batches, and at what learning rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sanakit.common.errors import ConfigError
from sanakit.common.seeds import derived_seed
from sanakit.training.run.run_state import RunState


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """Length, batch and learning rate of one stage. It ends at whichever of its ends comes first.

    A subclass with checks of its own calls ``StageConfig.__post_init__(self)``: ``super()`` does not work in slotted
    dataclasses.
    """

    name: str
    batch_size: int  # samples of a micro-batch on one process
    learning_rate: float
    accumulation: int = 1  # micro-batches of a step on one process
    steps: int | None = None  # of the optimiser
    epochs: float | None = None
    minutes: float | None = None  # the rate then follows the clock, and a resumed run is not equal to the bit
    auto_lr: Literal["none", "sqrt", "linear"] = "none"  # learning_rate * (samples of a step / 256), or its root
    warmup_steps: int = 100
    decay: float = 0.3  # last share of the stage, in which the rate falls linearly to zero

    def __post_init__(self) -> None:
        where = f"stage {self.name}: "
        if not self.name or "/" in self.name:
            raise ConfigError(f"a stage's name={self.name!r} must be a word without slashes")
        if self.steps is None and self.epochs is None and self.minutes is None:
            raise ConfigError(f"{where}a stage needs an end; give steps, epochs or minutes")
        for name in ("batch_size", "accumulation", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{where}{name}={value} must be at least 1")
        for name in ("learning_rate", "epochs", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{where}{name}={value} must be positive")
        if self.warmup_steps < 0 or not 0 <= self.decay <= 1:
            raise ConfigError(
                f"{where}warmup_steps={self.warmup_steps} must be 0 or more, and decay={self.decay} within [0, 1]"
            )

    @property
    def length(self) -> dict[str, float | None]:
        """Its ends."""
        return {"steps": self.steps, "epochs": self.epochs, "minutes": self.minutes}

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the pictures, in pixels, where a stage has a say in that."""
        return ()


def rate_factor(config: StageConfig, step: int, progress: float) -> float:
    """The learning rate as a share of its height: up over the warm-up, constant, then linearly to zero.

    Args:
        step: steps of this stage that are done.
        progress: of the stage, 0 to 1.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warm * (min(1.0, (1 - progress) / config.decay) if config.decay else 1.0)


def stage_progress(config: StageConfig, state: RunState, num_batches: int | None) -> float:
    """0 at the start of a stage, 1 or more at its end; ``num_batches`` are the micro-batches of an epoch.

    Raises:
        ConfigError: the stage ends with an epoch of data that has none.
    """
    parts = [state.stage_step / config.steps] if config.steps else []
    parts += [state.stage_seconds / (60 * config.minutes)] if config.minutes else []
    end = last_position(config, num_batches)
    parts += [state.position / end] if end else []
    return max(parts)


def rates_of_lengths(config: StageConfig, state: RunState, num_batches: int | None) -> tuple[float, float] | None:
    """Shares of the height of the rate, where a stage goes on, by the length that it had and the one that it has.

    None where they are equal.
    """
    if not state.length or state.length == config.length:
        return None
    before = replace(config, **state.length)  # type: ignore[arg-type]  # names of lengths
    old, new = (
        rate_factor(each, state.stage_step, min(1.0, stage_progress(each, state, num_batches)))
        for each in (before, config)
    )
    return (old, new) if abs(old - new) > 1e-3 else None


def last_position(config: StageConfig, num_batches: int | None) -> int | None:
    """The number of micro-batches in all the epochs of a stage; None if it does not end with an epoch."""
    if config.epochs is None:
        return None
    if num_batches is None:
        raise ConfigError(f"stage {config.name}: its data never repeats, so epochs={config.epochs} has no meaning")
    return max(1, round(config.epochs * num_batches))


def microbatch_seed(seed: int, stage: int, number: int) -> int:
    """The seed of a micro-batch's noise, 63 bits: neighbouring numbers give unrelated seeds."""
    return derived_seed(seed, stage, number)
