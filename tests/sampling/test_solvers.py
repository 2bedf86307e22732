"""Solvers against golden values, a straight path, and a Gaussian flow whose exact solution is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.sampling.driver import drive
from sanakit.sampling.evaluation import Evaluation
from sanakit.sampling.flow_dpm import flow_dpm_solver
from sanakit.sampling.flow_euler import flow_euler_solver
from sanakit.sampling.schedules import Schedule, flow_dpm_schedule, flow_euler_schedule
from sanakit.sampling.solvers import SOLVERS, SolverConfig, solver_of

METHODS = {"flow-dpm": (flow_dpm_solver, flow_dpm_schedule), "flow-euler": (flow_euler_solver, flow_euler_schedule)}


def toy_velocity(evaluation: Evaluation) -> Tensor:
    return 0.5 * evaluation.latent - 0.25 + 0.0005 * evaluation.timestep


def states_of(solver, velocity_fn) -> list[float]:
    """The scalar state at every wish after the first, then the result."""
    seen: list[float] = []
    final = drive(solver, velocity_fn, on_step=lambda evaluation, denoised: seen.append(evaluation.latent.item()))
    return [*seen[1:], final.item()]


def untruncated(schedule: Schedule) -> Schedule:
    return Schedule(sigmas=schedule.sigmas, timesteps=tuple(1000 * sigma for sigma in schedule.sigmas[:-1]))


@pytest.mark.parametrize(
    ("solver", "schedule", "expected"),
    [
        (flow_dpm_solver, flow_dpm_schedule(4, 3.0), [0.925030, 0.826956, 0.708211, 0.531526]),
        (flow_dpm_solver, untruncated(flow_dpm_schedule(4, 3.0)), [0.924997, 0.826878, 0.708069, 0.531253]),
        (flow_euler_solver, flow_euler_schedule(4, 3.0), [0.893269, 0.733433, 0.485590, 0.485614]),
    ],
    ids=["flow-dpm", "flow-dpm-real-times", "flow-euler"],
)
def test_golden_values(solver, schedule: Schedule, expected: list[float]) -> None:
    assert states_of(solver(torch.ones(1), schedule), toy_velocity) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 20])
def test_a_straight_path_is_walked_exactly(method: str, num_steps: int) -> None:
    g = torch.Generator().manual_seed(num_steps)
    picture, noise = torch.randn(2, 1, 4, 3, 5, generator=g, dtype=torch.float64)
    solver, build_schedule = METHODS[method]
    schedule = build_schedule(num_steps, 3.0)
    start = (1 - schedule.sigmas[0]) * picture + schedule.sigmas[0] * noise
    result = drive(solver(start, schedule), lambda evaluation: noise - picture)
    torch.testing.assert_close(result, picture, rtol=0, atol=1e-11)


def test_the_first_step_of_flow_dpm_is_one_of_euler() -> None:
    """It is of first order, and on a straight noise path the exponential form is the plain one."""
    schedule = flow_dpm_schedule(50, 8.0)
    g = torch.Generator().manual_seed(0)
    noise, velocity = torch.randn(2, 1, 4, 3, 5, generator=g, dtype=torch.float64)
    second: list[Tensor] = []
    for solver in (flow_dpm_solver, flow_euler_solver):
        running = solver(noise, schedule)
        next(running)
        second.append(running.send(velocity).latent)
    torch.testing.assert_close(second[0], second[1], rtol=0, atol=1e-12)


@dataclass(frozen=True)
class GaussianFlow:
    """The flow from N(0, 1) to N(mean, deviation^2): velocity and trajectories in closed form, float64."""

    mean: float = 0.7
    deviation: float = 1.0
    standard: float = 1.3  # the trajectory's distance from the mean in standard deviations, which the flow keeps

    def variance(self, sigma: float) -> float:
        return (1 - sigma) ** 2 * self.deviation**2 + sigma**2

    def exact(self, sigma: float) -> Tensor:
        value = (1 - sigma) * self.mean + math.sqrt(self.variance(sigma)) * self.standard
        return torch.tensor([value], dtype=torch.float64)

    def velocity(self, evaluation: Evaluation) -> Tensor:
        """E[noise - picture | latent]."""
        sigma = evaluation.sigma
        centred = (evaluation.latent - (1 - sigma) * self.mean) / self.variance(sigma)
        return sigma * centred - (self.mean + (1 - sigma) * self.deviation**2 * centred)

    def error(self, solver, schedule: Schedule, *, at_last_wish: bool = False) -> float:
        """Distance from the exact trajectory at sigma = 0, or where the last velocity is asked for."""
        wishes: list[Evaluation] = []
        start = self.exact(schedule.sigmas[0])
        final = drive(solver(start, schedule), self.velocity, lambda evaluation, _: wishes.append(evaluation))
        state, sigma = (wishes[-1].latent, wishes[-1].sigma) if at_last_wish else (final, 0.0)
        return (state - self.exact(sigma)).abs().item()


def even_log_snr_schedule(num_steps: int) -> Schedule:
    """From sigma 0.9 to 0.01 in steps of equal log-SNR, the variable in which the 2M formula is second order."""
    ends = [math.log(sigma / (1 - sigma)) for sigma in (0.9, 0.01)]
    logits = [ends[0] + (ends[1] - ends[0]) * index / num_steps for index in range(num_steps + 1)]
    sigmas = tuple(1 / (1 + math.exp(-logit)) for logit in logits)
    return Schedule(sigmas=(*sigmas, 0.0), timesteps=tuple(1000 * sigma for sigma in sigmas))


def slopes(errors: list[float]) -> list[float]:
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


@pytest.mark.parametrize("deviation", [0.3, 1.0])
def test_flow_dpm_converges_with_order_two(deviation: float) -> None:
    flow = GaussianFlow(deviation=deviation)
    counts = (80, 160, 320)
    errors = [flow.error(flow_dpm_solver, even_log_snr_schedule(n), at_last_wish=True) for n in counts]
    assert slopes(errors) == pytest.approx([2.0, 2.0], abs=0.05)


@pytest.mark.parametrize("deviation", [0.3, 1.0])
def test_flow_euler_converges_with_order_one(deviation: float) -> None:
    flow = GaussianFlow(deviation=deviation)
    errors = [flow.error(flow_euler_solver, flow_euler_schedule(n, 3.0)) for n in (40, 80, 160)]
    assert slopes(errors) == pytest.approx([1.0, 1.0], abs=0.1)


def test_second_order_pays_at_the_published_step_counts() -> None:
    flow = GaussianFlow()
    dpm_error = flow.error(flow_dpm_solver, flow_dpm_schedule(20, 3.0))
    assert dpm_error < 0.25 * flow.error(flow_euler_solver, flow_euler_schedule(28, 3.0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_state_is_float32_whatever_the_network_computes_in(method: str, dtype: torch.dtype) -> None:
    solver, build_schedule = METHODS[method]
    wishes: list[torch.dtype] = []

    def velocity(evaluation: Evaluation) -> Tensor:
        wishes.append(evaluation.latent.dtype)
        return evaluation.latent.to(dtype)

    result = drive(solver(torch.ones(1, 2, 2, 2, dtype=dtype), build_schedule(3, 3.0)), velocity)
    assert {result.dtype, *wishes} == {torch.float32}


def test_solvers_can_share_one_network_call() -> None:
    """Two solvers of different lengths, answered together step by step, end where they end alone."""
    starts = torch.tensor([[1.0], [-0.5]])
    schedules = [flow_dpm_schedule(4, 3.0), flow_dpm_schedule(2, 3.0)]
    alone = [drive(flow_dpm_solver(x, s), toy_velocity) for x, s in zip(starts, schedules, strict=True)]

    running = {row: flow_dpm_solver(x, s) for row, (x, s) in enumerate(zip(starts, schedules, strict=True))}
    wishes = {row: next(solver) for row, solver in running.items()}
    together: dict[int, Tensor] = {}
    while wishes:
        latents = torch.stack([wish.latent for wish in wishes.values()])
        times = torch.tensor([[wish.timestep] for wish in wishes.values()])
        velocities = 0.5 * latents - 0.25 + 0.0005 * times
        for row, velocity in zip(list(wishes), velocities, strict=True):
            try:
                wishes[row] = running[row].send(velocity)
            except StopIteration as finished:
                together[row] = finished.value
                del wishes[row]
    assert [together[row].item() for row in range(2)] == pytest.approx([x.item() for x in alone], abs=1e-6)


def noise_of_step(step: int) -> Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def curved(evaluation: Evaluation) -> Tensor:
    return torch.sin(3 * evaluation.latent) + evaluation.sigma * noise_of_step(99)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_run_goes_on_from_any_of_its_evaluations(name: str) -> None:
    """To the bit, of every solver that there is; an evaluation and the noise of a step are all that it needs."""
    config = solver_of(name, num_steps=20, flow_shift=3.0)

    def run(latent: Tensor, **where: Any) -> tuple[Tensor, list[Evaluation]]:
        steps: list[Evaluation] = []
        solver = config.start(latent, noise_of_step, **where)
        return drive(solver, curved, lambda evaluation, _: steps.append(evaluation)), steps

    whole, steps = run(torch.ones(2, 3, dtype=torch.float64))
    assert [(step.index, step.total) for step in steps] == [(index, 20) for index in range(20)]
    for step in steps:
        end, rest = run(step.latent, start=step.index, previous=step.previous)
        assert torch.equal(end, whole)
        assert [(e.index, e.sigma, e.timestep) for e in rest] == [
            (e.index, e.sigma, e.timestep) for e in steps[step.index :]
        ]


@pytest.fixture(params=METHODS)
def ode(request: pytest.FixtureRequest) -> SolverConfig:
    return solver_of(request.param, num_steps=20, flow_shift=3.0)


@pytest.mark.parametrize("start", [1, 7, 19])
def test_a_picture_with_noise_is_a_place_to_start_from(ode: SolverConfig, start: int) -> None:
    """Image to image: on a straight path, from the noise level of step ``start``, back to the picture."""
    picture, noise = noise_of_step(1), noise_of_step(2)
    sigma = ode.schedule().sigmas[start]
    solver = ode.start((1 - sigma) * picture + sigma * noise, noise_of_step, start=start)
    steps: list[Evaluation] = []
    result = drive(solver, lambda evaluation: noise - picture, lambda evaluation, _: steps.append(evaluation))
    torch.testing.assert_close(result, picture, rtol=0, atol=1e-11)
    assert len(steps) == 20 - start


def test_what_is_known_ends_where_it_was(ode: SolverConfig) -> None:
    """Inpainting needs no hook in a solver: the path to a known picture is straight."""
    known = noise_of_step(1)
    mask = torch.tensor([[True, False, False], [False, True, False]])

    def velocity(step: Evaluation) -> Tensor:
        return torch.where(mask, curved(step), (step.latent - known) / step.sigma)

    painted = drive(ode.start(torch.ones(2, 3, dtype=torch.float64), noise_of_step), velocity)
    assert (painted - known)[~mask].abs().max() < 1e-15


@pytest.mark.parametrize("start", [-1, 20])
def test_a_step_that_is_not_there(ode: SolverConfig, start: int) -> None:
    with pytest.raises(ConfigError, match=f"no step {start} to start from; the schedule has steps 0 to 19"):
        next(ode.start(torch.ones(1), noise_of_step, start=start))


def test_settings_are_checked_when_they_are_made(ode: SolverConfig) -> None:
    for settings, words in (({"num_steps": 0}, "at least 1 step"), ({"flow_shift": 0.0}, r"flow_shift=0\.0")):
        with pytest.raises(ConfigError, match=words):
            replace(ode, **settings)
