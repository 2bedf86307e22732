"""Driving a solver: what a step callback sees, and stopping half-way."""

from __future__ import annotations

import pytest
import torch

from sanakit.sampling.driver import drive
from sanakit.sampling.flow_dpm import flow_dpm_solver
from sanakit.sampling.schedules import flow_dpm_schedule


def test_on_step_sees_every_step_and_the_clean_latent_it_implies() -> None:
    picture, noise = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    schedule = flow_dpm_schedule(5, 3.0)
    seen = []
    start = schedule.sigmas[0] * noise
    drive(flow_dpm_solver(start, schedule), lambda _: noise - picture, lambda e, d: seen.append((e.index, e.total, d)))
    assert [(index, total) for index, total, _ in seen] == [(index, 5) for index in range(5)]
    for _, _, denoised in seen:
        torch.testing.assert_close(denoised, picture, rtol=0, atol=1e-6)


def test_an_exception_ends_the_run_and_closes_the_solver() -> None:
    solver = flow_dpm_solver(torch.zeros(1), flow_dpm_schedule(5, 3.0))

    def stop(evaluation, denoised) -> None:
        if evaluation.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(solver, lambda evaluation: evaluation.latent, stop)
    assert solver.gi_frame is None
