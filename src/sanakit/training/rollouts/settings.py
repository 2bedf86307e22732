"""How many pictures an iteration makes, how, and which of them are learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sanakit.common.errors import ConfigError
from sanakit.quantization.schemes import scheme_named
from sanakit.training.rollouts.selection import Selection


@dataclass(frozen=True, kw_only=True, slots=True)
class ExploreConfig:
    """Many candidates are made in a cheap way first; only the seeds that are chosen are made again, in full.

    What exploration makes never comes near the loss.

    Attributes:
        candidates: pictures of a prompt.
        steps: of the solver.
        scheme: the policy's copy in fewer bits, such as int8 or nvfp4; None: in full.
        min_features: layers stay in full whose larger side is no more than this.
        select: which of them are made again.
    """

    candidates: int = 96
    steps: int = 6
    scheme: str | None = "int8"
    min_features: int = 0
    select: Selection = "best_worst"

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.steps < 1:
            raise ConfigError(f"explore: candidates={self.candidates} and steps={self.steps} must be at least 1")
        if self.scheme is not None:
            scheme_named(self.scheme)


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutConfig:
    """An iteration: pictures of some prompts, and steps of the optimiser that learn from them.

    Attributes:
        prompts: of an iteration.
        candidates: pictures of a prompt in full precision.
        keep: of these, so many are learned from; None: all.
        select: which of them.
        steps, solver, flow_shift: None: as the model has it. Flow-GRPO has solvers of its own.
        guidance_scale: 1 is off, as published.
        use_instruction: the text before every prompt, as the model has it.
        frames, fps: of models of clips; None: as the model has them.
        updates: steps of the optimiser in an iteration.
    """

    prompts: int = 8
    candidates: int = 16
    keep: int | None = None
    select: Selection = "best_worst"
    steps: int | None = 10
    solver: Literal["flow-dpm", "flow-euler"] | None = None
    flow_shift: float | None = None
    guidance_scale: float = 1.0
    use_instruction: bool = True
    frames: int | None = None
    fps: int | None = None
    updates: int = 1

    def __post_init__(self) -> None:
        if min(self.prompts, self.candidates, self.updates, self.steps or 1) < 1:
            raise ConfigError(
                f"rollout: prompts={self.prompts}, candidates={self.candidates}, steps={self.steps} and updates="
                f"{self.updates} must be at least 1"
            )
        if self.keep is not None and not 1 <= self.keep <= self.candidates:
            raise ConfigError(f"rollout: keep={self.keep} must be from 1 to candidates={self.candidates}")

    @property
    def kept(self) -> int:
        """Pictures of a prompt that are learned from."""
        return self.candidates if self.keep is None else self.keep
