"""Schedules and solvers against the schedulers of diffusers."""

from __future__ import annotations

import pytest
import torch

from sanakit.sampling.driver import drive
from sanakit.sampling.flow_dpm import flow_dpm_solver
from sanakit.sampling.flow_euler import flow_euler_solver
from sanakit.sampling.schedules import flow_dpm_schedule, flow_euler_schedule

diffusers = pytest.importorskip("diffusers")

SETTINGS = [(1, 3.0), (2, 3.0), (5, 1.0), (14, 3.0), (20, 3.0), (20, 4.0), (20, 6.0), (28, 3.0), (50, 2.5)]


def dpm_scheduler(num_steps: int, flow_shift: float):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=flow_shift
    )
    scheduler.set_timesteps(num_steps)
    return scheduler


def euler_scheduler(num_steps: int, flow_shift: float):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=flow_shift)
    scheduler.set_timesteps(num_steps)
    return scheduler


METHODS = {
    "flow-dpm": (dpm_scheduler, flow_dpm_schedule, flow_dpm_solver),
    "flow-euler": (euler_scheduler, flow_euler_schedule, flow_euler_solver),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("num_steps", "flow_shift"), SETTINGS)
def test_schedule(method: str, num_steps: int, flow_shift: float) -> None:
    build_peer, build_schedule, _ = METHODS[method]
    peer, ours = build_peer(num_steps, flow_shift), build_schedule(num_steps, flow_shift)
    assert ours.sigmas == pytest.approx(peer.sigmas.tolist(), abs=1e-6)
    assert ours.timesteps == pytest.approx(peer.timesteps.tolist(), rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("num_steps", "flow_shift"), SETTINGS)
def test_trajectory(method: str, num_steps: int, flow_shift: float) -> None:
    build_peer, build_schedule, solver = METHODS[method]

    def velocity(latent, timestep):
        return torch.sin(3 * latent) + 0.001 * timestep * latent.flip(-1)

    noise = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    peer, expected = build_peer(num_steps, flow_shift), noise
    for timestep in peer.timesteps:
        expected = peer.step(velocity(expected, timestep), timestep, expected, return_dict=False)[0]
    result = drive(solver(noise, build_schedule(num_steps, flow_shift)), lambda e: velocity(e.latent, e.timestep))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=2e-5)
