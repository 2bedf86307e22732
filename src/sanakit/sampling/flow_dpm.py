"""Flow-DPM-Solver, the one that SANA was published with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sanakit.common.devices import widened
from sanakit.sampling.evaluation import Draw, Evaluation, Solver
from sanakit.sampling.schedules import Schedule, check_settings, flow_dpm_schedule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowDPM:
    """Second order in the log-SNR, one network evaluation a step."""

    name: ClassVar[str] = "flow-dpm"
    a1111_name: ClassVar[str] = "Flow DPM++ 2M"
    diffusers_class: ClassVar[str] = "DPMSolverMultistepScheduler"

    num_steps: int
    flow_shift: float

    def __post_init__(self) -> None:
        check_settings(self.num_steps, self.flow_shift)

    def schedule(self) -> Schedule:
        """The noise levels that it visits."""
        return flow_dpm_schedule(self.num_steps, self.flow_shift)

    def start(self, noise: Tensor, draw: Draw, *, start: int = 0, previous: Tensor | None = None) -> Solver:
        """From ``noise`` to picture; from step ``start`` and a latent of that step, where a run is to go on."""
        return flow_dpm_solver(noise, self.schedule(), start=start, previous=previous)

    def to_diffusers(self) -> dict[str, Any]:
        """The settings with which diffusers' class does the same; what is left out has its defaults."""
        return {
            "algorithm_type": "dpmsolver++",
            "final_sigmas_type": "zero",
            "flow_shift": self.flow_shift,
            "lower_order_final": True,
            "num_train_timesteps": 1000,
            "prediction_type": "flow_prediction",
            "solver_order": 2,
            "solver_type": "midpoint",
            "use_flow_sigmas": True,
        }


def flow_dpm_solver(latent: Tensor, schedule: Schedule, *, start: int = 0, previous: Tensor | None = None) -> Solver:
    """DPM-Solver++ (2M, midpoint) on the straight noise path; without ``previous`` the first step is of first order.

    Source: DPM-Solver++, arXiv:2211.01095, algorithm 2; flow form: SANA, arXiv:2410.10629, algorithm 1.
    """
    latent = widened(latent)
    for index in schedule.steps(start):
        sigma, next_sigma = schedule.sigmas[index : index + 2]
        velocity = yield Evaluation(latent, sigma, schedule.timesteps[index], index, schedule.num_steps, previous)
        denoised = latent - sigma * velocity.to(latent.dtype)
        if next_sigma == 0.0:
            break
        log_snr = _log_snr(sigma)
        step = _log_snr(next_sigma) - log_snr
        target = denoised
        if previous is not None:
            ratio = (log_snr - _log_snr(schedule.sigmas[index - 1])) / step
            target = denoised + (denoised - previous) / (2.0 * ratio)
        latent = (next_sigma / sigma) * latent - (1.0 - next_sigma) * math.expm1(-step) * target
        previous = denoised
    return denoised  # at sigma = 0 the log-SNR is infinite and the step lands on the denoised latent


def _log_snr(sigma: float) -> float:
    """Half the log signal-to-noise ratio, lambda = ln(1 - sigma) - ln(sigma)."""
    return math.log1p(-sigma) - math.log(sigma)
