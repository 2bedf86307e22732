"""A flow that begins with a latent under a share of noise instead of with noise alone: the last steps of a refiner.

Source: LTX-2 (Lightricks), whose second stage has these noise levels; SANA-WM (arXiv:2605.15178) trains on its path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sanakit.sampling.evaluation import Solver
from sanakit.sampling.flow_euler import flow_euler_solver
from sanakit.sampling.schedules import TRAIN_STEPS, Schedule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class TruncatedFlow:
    """Euler's steps from the first of ``sigmas`` to 0."""

    sigmas: tuple[float, ...] = (0.909375, 0.725, 0.421875)

    def schedule(self) -> Schedule:
        """The noise levels that it visits.

        Raises:
            ConfigError: they do not fall from at most 1.
        """
        times = tuple(TRAIN_STEPS * sigma for sigma in self.sigmas)
        return Schedule(sigmas=(*self.sigmas, 0.0), timesteps=times)

    def start(self, latent: Tensor, noise: Tensor) -> Solver:
        """From a finished latent to a better one."""
        schedule = self.schedule()
        return flow_euler_solver(schedule.first_latent(noise, latent), schedule)
