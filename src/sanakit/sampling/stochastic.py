"""Steps with noise of their own: each is a normal distribution of the next latent, so what was drawn has a probability.

Policies of reinforcement learning are sampled so: the marginals of ``FlowSDE`` are those of the flow, ``FlowCPS`` keeps
the coefficients of signal and noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sanakit.common.devices import widened
from sanakit.common.errors import ConfigError
from sanakit.sampling.evaluation import Draw, Evaluation, Solver
from sanakit.sampling.schedules import TRAIN_STEPS, Schedule, check_settings, shift_sigma

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """The next latent is ``mean`` ``(B, ...)`` and normal noise of this deviation.

    ``precision`` weighs squared distances in `log_probability`, ``penalty`` in `divergence`; ``constant`` is what the
    former lacks to be that of a normal distribution.
    """

    mean: Tensor
    deviation: float
    precision: float
    penalty: float
    constant: float = 0.0

    def log_probability(self, drawn: Tensor) -> Tensor:
        """Of latents ``(B, ...)``, the mean over their dimensions: ``(B,)``."""
        squared = (drawn.to(self.mean.dtype) - self.mean).square()
        return self.constant - self.precision * squared.flatten(1).mean(1)

    def divergence(self, other: Transition) -> Tensor:
        """How far another transition of the same step leads elsewhere, the mean over dimensions: ``(B,)``."""
        return self.penalty * (self.mean - other.mean).square().flatten(1).mean(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stochastic:
    """Steps on an even grid that is shifted once.

    Attributes:
        noise_level: how much noise a step draws; 0 is Flow-Euler on the same grid.
        window: the first step with noise and the first after it that has none again; None: all have.
    """

    most: ClassVar[float]

    num_steps: int
    flow_shift: float
    noise_level: float
    window: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_settings(self.num_steps, self.flow_shift)
        if not 0 <= self.noise_level <= self.most:
            raise ConfigError(f"noise_level={self.noise_level} must be a number from 0 to {self.most:g}")
        if self.window is not None and not 0 <= self.window[0] < self.window[1] <= self.num_steps:
            raise ConfigError(f"window={list(self.window)} must be two rising numbers from 0 to {self.num_steps} steps")

    def schedule(self) -> Schedule:
        """The noise levels that it visits."""
        grid = (1.0 - index / self.num_steps for index in range(self.num_steps))
        sigmas = tuple(shift_sigma(sigma, self.flow_shift) for sigma in grid)
        return Schedule(sigmas=(*sigmas, 0.0), timesteps=tuple(TRAIN_STEPS * sigma for sigma in sigmas))

    def level(self, step: int) -> float:
        """How much noise that step draws."""
        first, end = self.window or (0, self.num_steps)
        return self.noise_level if first <= step < end else 0.0

    def transition(self, latent: Tensor, velocity: Tensor, step: int) -> Transition:
        """Where a step leads from ``latent`` along ``velocity``, both ``(B, ...)``."""
        raise NotImplementedError

    def trained_steps(self) -> tuple[int, ...]:
        """Steps whose draw has a probability that can be learned from: with noise, and not the last one."""
        return tuple(step for step in range(self.num_steps - 1) if self.level(step) > 0.0)

    def start(self, noise: Tensor, draw: Draw, *, start: int = 0, previous: Tensor | None = None) -> Solver:
        """From ``noise`` to picture; from step ``start`` and a latent of that step, where a run is to go on."""
        schedule, latent = self.schedule(), widened(noise)
        for step in schedule.steps(start):
            velocity = yield Evaluation(
                latent, schedule.sigmas[step], schedule.timesteps[step], step, schedule.num_steps
            )
            found = self.transition(latent, velocity.to(latent.dtype), step)
            latent = found.mean + found.deviation * draw(step) if found.deviation else found.mean
        return latent

    def to_diffusers(self) -> dict[str, Any]:
        """The settings of diffusers' class that come nearest: it draws no noise of its own between steps."""
        return {"num_train_timesteps": TRAIN_STEPS, "shift": self.flow_shift}


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowSDE(_Stochastic):
    """The reverse stochastic differential equation of a flow, by Euler and Maruyama (Flow-GRPO, arXiv:2505.05470)."""

    name: ClassVar[str] = "flow-sde"
    a1111_name: ClassVar[str] = "Flow SDE"
    diffusers_class: ClassVar[str] = "FlowMatchEulerDiscreteScheduler"

    most: ClassVar[float] = 10.0

    noise_level: float = 0.7

    def transition(self, latent: Tensor, velocity: Tensor, step: int) -> Transition:
        """Noise of ``b = noise_level * sqrt(sigma / (1 - sigma))`` in a unit of time; of 1 the next level divides."""
        sigmas = self.schedule().sigmas
        sigma, dt = sigmas[step], sigmas[step + 1] - sigmas[step]
        last = sigmas[1] if sigma == 1.0 else sigma
        b = self.level(step) * math.sqrt(sigma / (1.0 - last)) if self.level(step) else 0.0
        drift = b * b / (2.0 * sigma)
        mean = latent * (1.0 + drift * dt) + velocity * ((1.0 + drift * (1.0 - sigma)) * dt)
        deviation = b * math.sqrt(-dt)
        if not deviation:
            return Transition(mean, 0.0, math.inf, math.inf)
        constant = -math.log(deviation) - 0.5 * math.log(2.0 * math.pi)
        return Transition(mean, deviation, 0.5 / deviation**2, 0.5 / b**2, constant)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowCPS(_Stochastic):
    """Coefficients-preserving sampling: a share of the noise that belongs to the next level is drawn anew.

    Its log-probability is the negative squared distance alone, as the noise of no step then counts more than another's.
    Source: Flow-CPS, arXiv:2509.05952.
    """

    name: ClassVar[str] = "flow-cps"
    a1111_name: ClassVar[str] = "Flow CPS"
    diffusers_class: ClassVar[str] = "FlowMatchEulerDiscreteScheduler"

    most: ClassVar[float] = 1.0  # a quarter turn from the noise that was there to new noise

    noise_level: float = 0.8

    def transition(self, latent: Tensor, velocity: Tensor, step: int) -> Transition:
        """Noise of ``next * sin(noise_level * pi / 2)``, and as much less of what the velocity says is noise."""
        sigma, after = self.schedule().sigmas[step : step + 2]
        clean, noise = latent - sigma * velocity, latent + (1.0 - sigma) * velocity
        deviation = after * math.sin(self.level(step) * math.pi / 2.0)
        mean = (1.0 - after) * clean + math.sqrt(after**2 - deviation**2) * noise
        return Transition(mean, deviation, 1.0, 1.0)


StochasticSolver = FlowSDE | FlowCPS
