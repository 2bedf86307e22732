"""The noise levels a solver visits: the Flow-DPM and Flow-Euler grids.

Source: SANA, arXiv:2410.10629; the shift: Stable Diffusion 3, arXiv:2403.03206.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from sanakit.common.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

TRAIN_STEPS = 1000  # the network is told time in units of 1/1000 of the noise level
MAX_FLOW_SHIFT = 1000.0  # beyond it the first sigma rounds towards 1, where the log-SNR has no value


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Falling noise levels with the time the network is told at each.

    ``sigmas`` holds N+1 values, strictly falling, the last exactly 0; ``timesteps`` the N times of all but the last.
    ``noise_scale`` is what noise without a picture is multiplied with to be the first latent.
    """

    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.timesteps or len(self.sigmas) != len(self.timesteps) + 1:
            raise ConfigError(
                f"a schedule of {len(self.timesteps)} timesteps came with {len(self.sigmas)} sigmas; "
                f"give at least one timestep and one sigma more than timesteps."
            )
        falling = all(high > low for high, low in pairwise(self.sigmas))
        if not falling or self.sigmas[0] > 1.0 or self.sigmas[-1] != 0.0:
            raise ConfigError(f"sigmas must fall from at most 1 to exactly 0; got {self.sigmas}.")

    @property
    def num_steps(self) -> int:
        """Network evaluations the schedule asks for."""
        return len(self.timesteps)

    def first_latent(self, noise: Tensor, picture: Tensor | None = None, start: int = 0) -> Tensor:
        """Where step ``start`` begins: noise alone, or the latent of a picture under as much of it."""
        if picture is None:
            return noise if self.noise_scale == 1.0 else self.noise_scale * noise
        sigma = self.sigmas[start]
        return (1.0 - sigma) * picture + sigma * noise

    def steps(self, start: int = 0) -> range:
        """Numbers of the steps from ``start`` on.

        Raises:
            ConfigError: there is no such step.
        """
        if not 0 <= start < self.num_steps:
            raise ConfigError(
                f"there is no step {start} to start from; the schedule has steps 0 to {self.num_steps - 1}."
            )
        return range(start, self.num_steps)


def shift_sigma(sigma: float, flow_shift: float) -> float:
    """Move ``sigma`` in [0, 1] towards 1 by ``flow_shift`` (1 leaves it alone)."""
    return flow_shift * sigma / (1.0 + (flow_shift - 1.0) * sigma)


def flow_dpm_schedule(num_steps: int, flow_shift: float) -> Schedule:
    """The grid of Flow-DPM-Solver: evenly spaced from 0.999 to 0, then shifted; times are truncated to integers.

    Raises:
        ConfigError: fewer than one step, or a shift that is not a positive number.
    """
    check_settings(num_steps, flow_shift)
    spacing = (1.0 / TRAIN_STEPS - 1.0) / num_steps
    alphas = [1.0 + index * spacing for index in range(num_steps)] + [1.0 / TRAIN_STEPS]
    sigmas = tuple(shift_sigma(1.0 - alpha, flow_shift) for alpha in reversed(alphas))
    # Truncated, not rounded: the released networks were trained on ``int(1000 * sigma)``.
    return Schedule(sigmas=sigmas, timesteps=tuple(float(int(TRAIN_STEPS * sigma)) for sigma in sigmas[:-1]))


def flow_euler_schedule(num_steps: int, flow_shift: float) -> Schedule:
    """The grid of Flow-Euler: evenly spaced between the shifted ends 1 and 0.001, shifted *again*, then 0; real times.

    The second shift is an accident of the reference scheduler that every published setting was chosen with.

    Raises:
        ConfigError: fewer than one step, or a shift that is not a positive number.
    """
    check_settings(num_steps, flow_shift)
    lowest = shift_sigma(1.0 / TRAIN_STEPS, flow_shift)
    spacing = (lowest - 1.0) / max(num_steps - 1, 1)
    grid = (1.0 + index * spacing for index in range(num_steps))
    sigmas = tuple(shift_sigma(sigma, flow_shift) for sigma in grid)
    return Schedule(sigmas=(*sigmas, 0.0), timesteps=tuple(TRAIN_STEPS * sigma for sigma in sigmas))


def check_settings(num_steps: int, flow_shift: float) -> None:
    """Whether a grid can be made of these.

    Raises:
        ConfigError: fewer than one step, or a shift that is not a positive number.
    """
    if num_steps < 1:
        raise ConfigError(f"num_inference_steps={num_steps} cannot make a picture; ask for at least 1 step.")
    if not (math.isfinite(flow_shift) and 0.0 < flow_shift <= MAX_FLOW_SHIFT):
        raise ConfigError(
            f"flow_shift={flow_shift} is not usable; give a number above 0, at most {MAX_FLOW_SHIFT:g} (SANA uses 3)."
        )
