"""What a solver is: a plain generator that asks for velocities.

A solver yields the point it wants evaluated, is sent the velocity there, and returns the latent at sigma = 0. Whoever
drives it decides where velocities come from (one network call, a batch shared with other solvers, a formula) and may
look, preview, correct or stop between two yields. The state is float32 or wider whatever the network computes in; noise
levels are Python floats. An evaluation holds all that its solver remembers, so that a run can go on from any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The last velocities that were evaluated, at most two, ``(K, *latent.shape)``, and where; the newest is last."""

    sigmas: tuple[float, ...]
    velocities: Tensor

    @staticmethod
    def after(known: Known | None, sigma: float, velocity: Tensor) -> Known:
        """With one more, and without the oldest of three."""
        import torch

        if known is None:
            return Known((sigma,), velocity[None])
        return Known((known.sigmas[-1], sigma), torch.stack([known.velocities[-1], velocity]))


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A solver's wish: the velocity of ``latent`` at noise level ``sigma``, for step ``index`` of ``total``.

    ``previous`` is what a multistep solver remembers of the steps before, of the latent's shape; ``known`` what a run
    remembers that reuses velocities. ``frame_sigmas`` are the noise levels of the frames of a clip, where these differ;
    then ``sigma`` is that of the last one.
    """

    latent: Tensor
    sigma: float
    timestep: float
    index: int
    total: int
    previous: Tensor | None = None
    known: Known | None = None
    frame_sigmas: tuple[float, ...] | None = None

    def denoised(self, velocity: Tensor) -> Tensor:
        """The clean latent that a velocity implies."""
        velocity = velocity.to(self.latent.dtype)
        if self.frame_sigmas is None:
            return self.latent - self.sigma * velocity
        return self.latent - self.latent.new_tensor(self.frame_sigmas)[:, None, None] * velocity


Solver: TypeAlias = "Generator[Evaluation, Tensor, Tensor]"
Draw: TypeAlias = "Callable[[int], Tensor]"
"""Normal noise of a step, of the latent's shape; the same whenever it is asked."""
