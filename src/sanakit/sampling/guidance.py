"""Guidance: which velocities a step needs, and how they become one.

``inputs`` says what the network is told for every branch that may be needed; ``branches(sigma)`` names those of one
noise level, in the order in which they become rows of a network call; ``combine`` takes velocities by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sanakit.common.errors import ConfigError

Branch = Literal["conditional", "unconditional", "perturbed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BranchInput:
    """Which text a branch reads, in which layers its self-attention sees nothing, and the scale that it is told."""

    text: Literal["prompt", "negative"] = "prompt"
    perturbed_layers: tuple[int, ...] = ()
    guidance: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierFreeGuidance:
    """Away from the unconditional velocity: ``v = u + scale * (c - u)`` (Ho and Salimans, arXiv:2207.12598).

    A scale of at most 1 is off: only the conditional branch runs. ``interval`` limits guidance to noise levels from
    its first to its second value (Kynkaanniemi et al., arXiv:2404.07724), both included so that (0, 1) means always.
    """

    scale: float
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_scale("guidance_scale", self.scale)
        low, high = self.interval
        if not 0.0 <= low <= high <= 1.0:
            raise ConfigError(f"guidance interval ({low}, {high}) must be two rising noise levels between 0 and 1.")

    def inputs(self) -> Mapping[Branch, BranchInput]:
        """The prompt, and the negative prompt unless the scale is off."""
        prompt: Mapping[Branch, BranchInput] = {"conditional": BranchInput()}
        return {"unconditional": BranchInput(text="negative"), **prompt} if self.scale > 1.0 else prompt

    def branches(self, sigma: float) -> tuple[Branch, ...]:
        """Both branches where guidance is on, else the conditional alone."""
        return ("unconditional", "conditional") if self.scale_at(sigma) > 1.0 else ("conditional",)

    def combine(self, velocities: Mapping[Branch, Tensor], sigma: float) -> Tensor:
        """The velocity ``(B, C, H, W)`` to follow."""
        conditional, scale = velocities["conditional"], self.scale_at(sigma)
        if scale <= 1.0:
            return conditional
        return velocities["unconditional"] + scale * (conditional - velocities["unconditional"])

    def scale_at(self, sigma: float) -> float:
        """The scale at noise level ``sigma``, 1 outside of the interval."""
        low, high = self.interval
        return self.scale if low <= sigma <= high else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PerturbedAttentionGuidance(ClassifierFreeGuidance):
    """Also away from a network whose self-attention in ``layers`` sees nothing (PAG, arXiv:2403.17377).

    ``v = u + scale * (c - u) + pag_scale * (c - p)``; at a scale of at most 1 the unconditional branch is dropped.
    ``adaptive_scale`` lowers ``pag_scale`` by that much per unit of time walked from 1000 to 0, never below 0.
    """

    pag_scale: float
    layers: tuple[int, ...]
    adaptive_scale: float = 0.0

    def __post_init__(self) -> None:
        ClassifierFreeGuidance.__post_init__(self)  # super() does not know a class that slots have made anew
        _check_scale("pag_scale", self.pag_scale)
        _check_scale("adaptive_scale", self.adaptive_scale)
        if not self.layers or min(self.layers) < 0:
            raise ConfigError(f"PAG needs the layers whose attention it perturbs, counted from 0; got {self.layers}.")

    def inputs(self) -> Mapping[Branch, BranchInput]:
        """Also the prompt through the perturbed network."""
        return {**ClassifierFreeGuidance.inputs(self), "perturbed": BranchInput(perturbed_layers=self.layers)}

    def branches(self, sigma: float) -> tuple[Branch, ...]:
        """In the order unconditional, conditional, perturbed, leaving out what has no weight at this noise level."""
        guided = ClassifierFreeGuidance.branches(self, sigma)
        return (*guided, "perturbed") if self.pag_scale_at(sigma) > 0.0 else guided

    def combine(self, velocities: Mapping[Branch, Tensor], sigma: float) -> Tensor:
        """The velocity ``(B, C, H, W)`` to follow."""
        velocity, pag_scale = ClassifierFreeGuidance.combine(self, velocities, sigma), self.pag_scale_at(sigma)
        if pag_scale > 0.0:
            velocity = velocity + pag_scale * (velocities["conditional"] - velocities["perturbed"])
        return velocity

    def pag_scale_at(self, sigma: float) -> float:
        """The weight of ``c - p`` at noise level ``sigma``."""
        return max(self.pag_scale - self.adaptive_scale * 1000.0 * (1.0 - sigma), 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedGuidance:
    """The network reads the scale and answers as if it were guided (SANA-Sprint, arXiv:2503.09641): one branch."""

    scale: float

    def __post_init__(self) -> None:
        _check_scale("guidance_scale", self.scale)

    def inputs(self) -> Mapping[Branch, BranchInput]:
        """The prompt and the scale."""
        return {"conditional": BranchInput(guidance=self.scale)}

    def branches(self, sigma: float) -> tuple[Branch, ...]:
        """The one, at every noise level."""
        return ("conditional",)

    def combine(self, velocities: Mapping[Branch, Tensor], sigma: float) -> Tensor:
        """The velocity ``(B, C, H, W)`` to follow."""
        return velocities["conditional"]


Guidance = ClassifierFreeGuidance | PerturbedAttentionGuidance | EmbeddedGuidance


def _check_scale(name: str, value: float) -> None:
    if not math.isfinite(value) or value < 0.0:
        raise ConfigError(f"{name}={value} is not usable; give a finite number of at least 0.")
