"""The sampler of consistency models: to the clean latent in one step, and back to less noise for the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from sanakit.common.devices import widened
from sanakit.common.errors import ConfigError
from sanakit.sampling.evaluation import Draw, Evaluation, Solver
from sanakit.sampling.schedules import TRAIN_STEPS, Schedule
from sanakit.sampling.trigflow import MAX_ANGLE, SIGMA_DATA, path_scale, sigma_of

if TYPE_CHECKING:
    from torch import Tensor

ROUNDED_MAX_ANGLE = 1.5708  # as a quarter turn is published, a little beyond it
# Found one angle after the other by FID and CLIP score (SANA-Sprint, arXiv:2503.09641); of two, as diffusers has them.
_SEARCHED = {1: (MAX_ANGLE,), 2: (MAX_ANGLE, 1.3), 4: (math.atan(200 / SIGMA_DATA), 1.3, 1.1, 0.6)}


@dataclass(frozen=True, kw_only=True, slots=True)
class SCM:
    """One network evaluation at each of ``angles``, which fall from at most a quarter turn (1.5708) to above 0."""

    name: ClassVar[str] = "scm"
    a1111_name: ClassVar[str] = "sCM"
    diffusers_class: ClassVar[str] = "SCMScheduler"

    angles: tuple[float, ...]

    def __post_init__(self) -> None:
        falling = all(high > low for high, low in pairwise((*self.angles, 0.0)))
        if not self.angles or not falling or not self.angles[0] <= ROUNDED_MAX_ANGLE:
            raise ConfigError(
                f"angles={', '.join(f'{angle:g}' for angle in self.angles)} are not usable; they must fall from at "
                f"most {ROUNDED_MAX_ANGLE} to above 0."
            )
        object.__setattr__(self, "angles", tuple(min(angle, MAX_ANGLE) for angle in self.angles))

    @property
    def num_steps(self) -> int:
        """Network evaluations."""
        return len(self.angles)

    def beginning_at(self, angle: float) -> SCM:
        """The same from ``angle`` on, in the place of all larger ones."""
        first = min(angle, MAX_ANGLE)
        return SCM(angles=(first, *(each for each in self.angles if each < first)))

    def schedule(self) -> Schedule:
        """The noise levels that it visits."""
        sigmas = tuple(map(sigma_of, self.angles))
        return Schedule(
            sigmas=(*sigmas, 0.0),
            timesteps=tuple(TRAIN_STEPS * sigma for sigma in sigmas),
            noise_scale=path_scale(self.angles[0]),
        )

    def start(self, noise: Tensor, draw: Draw, *, start: int = 0, previous: Tensor | None = None) -> Solver:
        """From a first latent of the schedule to picture; from step ``start`` and a latent of that step, where a run is
        to go on."""
        return scm_solver(noise, self.schedule(), draw, start=start)

    def to_diffusers(self) -> dict[str, Any]:
        """The settings with which diffusers' class does the same; angles are given to it as a picture is made."""
        return {"num_train_timesteps": TRAIN_STEPS, "prediction_type": "trigflow", "sigma_data": SIGMA_DATA}


def scm_angles(num_steps: int) -> tuple[float, ...]:
    """The angles of so many steps: searched ones of 1, 2 and 4, else evenly spaced.

    Raises:
        ConfigError: fewer than one step.
    """
    if num_steps < 1:
        raise ConfigError(f"num_inference_steps={num_steps} cannot make a picture; ask for at least 1 step.")
    evenly = tuple(MAX_ANGLE * (1 - index / num_steps) for index in range(num_steps))
    return _SEARCHED.get(num_steps, evenly)


def scm_solver(latent: Tensor, schedule: Schedule, draw: Draw, *, start: int = 0) -> Solver:
    """Denoise, and add new noise of the next level; on the straight path, where the consistency function of TrigFlow is
    what a velocity implies.

    Source: sCM, arXiv:2410.11081, multistep sampling.
    """
    latent = widened(latent)
    for index in schedule.steps(start):
        sigma, next_sigma = schedule.sigmas[index : index + 2]
        velocity = yield Evaluation(latent, sigma, schedule.timesteps[index], index, schedule.num_steps)
        denoised = latent - sigma * velocity.to(latent.dtype)
        if next_sigma > 0.0:
            latent = (1.0 - next_sigma) * denoised + next_sigma * draw(index)
    return denoised
