"""Solvers of the flow ODE from noise to picture, as plain generators.

A solver yields the point it wants evaluated, is sent the velocity there, and returns the latent at sigma = 0. Whoever
drives it decides where velocities come from (one network call, a batch shared with other solvers, a formula) and may
look, preview, edit or stop between two yields. The state is float32 or wider whatever the network computes in; noise
levels are Python floats.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from sanakit.sampling.schedules import Schedule


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A solver's wish: the velocity of ``latent`` at noise level ``sigma``, for step ``index`` of ``total``."""

    latent: Tensor
    sigma: float
    timestep: float
    index: int
    total: int


Solver = Generator[Evaluation, Tensor, Tensor]


def flow_dpm_solver(latent: Tensor, schedule: Schedule) -> Solver:
    """Flow-DPM-Solver: DPM-Solver++ (2M, midpoint) on the straight noise path, second order in the log-SNR.

    Source: DPM-Solver++, arXiv:2211.01095, algorithm 2; flow form: SANA, arXiv:2410.10629, algorithm 1.
    """
    latent = _wide(latent)
    previous_denoised, previous_log_snr = latent, 0.0
    for index, (sigma, timestep) in enumerate(zip(schedule.sigmas[:-1], schedule.timesteps, strict=True)):
        velocity = yield Evaluation(latent, sigma, timestep, index, schedule.num_steps)
        denoised = latent - sigma * velocity.to(latent.dtype)
        next_sigma = schedule.sigmas[index + 1]
        if next_sigma == 0.0:
            break
        log_snr = _log_snr(sigma)
        step = _log_snr(next_sigma) - log_snr
        target = denoised
        if index > 0:
            ratio = (log_snr - previous_log_snr) / step
            target = denoised + (denoised - previous_denoised) / (2.0 * ratio)
        latent = (next_sigma / sigma) * latent - (1.0 - next_sigma) * math.expm1(-step) * target
        previous_denoised, previous_log_snr = denoised, log_snr
    return denoised  # at sigma = 0 the log-SNR is infinite and the step lands on the denoised latent


def flow_euler_solver(latent: Tensor, schedule: Schedule) -> Solver:
    """Flow-Euler: walk along the velocity, first order in sigma."""
    latent = _wide(latent)
    for index, (sigma, timestep) in enumerate(zip(schedule.sigmas[:-1], schedule.timesteps, strict=True)):
        velocity = yield Evaluation(latent, sigma, timestep, index, schedule.num_steps)
        latent = latent + (schedule.sigmas[index + 1] - sigma) * velocity.to(latent.dtype)
    return latent


def _log_snr(sigma: float) -> float:
    """Half the log signal-to-noise ratio, lambda = ln(1 - sigma) - ln(sigma)."""
    return math.log1p(-sigma) - math.log(sigma)


def _wide(latent: Tensor) -> Tensor:
    return latent.to(torch.promote_types(latent.dtype, torch.float32))
