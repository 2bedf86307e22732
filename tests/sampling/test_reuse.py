"""Velocities that serve again: which calls are spared, and what they are spared at."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.sampling.driver import drive
from sanakit.sampling.evaluation import Evaluation, Known
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.reuse import expected_error, reusing

NOISE = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))


def run(threshold: float, velocity, *, kind=lambda sigma: 0, num_steps: int = 20) -> tuple[Tensor, list[int]]:
    asked: list[int] = []

    def answer(wish: Evaluation) -> Tensor:
        asked.append(wish.index)
        return velocity(wish)

    solver = FlowDPM(num_steps=num_steps, flow_shift=3.0).start(NOISE, lambda step: NOISE)
    return drive(reusing(solver, threshold, kind=kind), answer), asked


def bending(wish: Evaluation) -> Tensor:
    return wish.latent * math.cos(2 * wish.sigma)


def test_nothing_is_spared_at_zero_and_the_latent_is_that_of_the_solver() -> None:
    latent, asked = run(0.0, bending)
    assert asked == list(range(20))
    assert torch.equal(latent, drive(FlowDPM(num_steps=20, flow_shift=3.0).start(NOISE, lambda step: NOISE), bending))


def test_a_velocity_that_stays_is_asked_for_twice() -> None:
    latent, asked = run(1e-6, lambda wish: torch.ones_like(NOISE))
    assert asked == [0, 1]
    assert torch.allclose(latent, run(0.0, lambda wish: torch.ones_like(NOISE))[0], atol=1e-5)


def test_more_is_spared_and_more_is_lost_as_the_threshold_rises() -> None:
    whole, _ = run(0.0, bending)
    found = [run(threshold, bending) for threshold in (0.1, 0.2, 0.4)]
    calls = [len(asked) for _, asked in found]
    errors = [float((latent - whole).norm() / whole.norm()) for latent, _ in found]
    assert 20 > calls[0] > calls[1] > calls[2] >= 2, calls
    assert 0 < errors[0] < errors[1] < errors[2] < 0.5, errors


def test_what_is_made_otherwise_is_never_reused() -> None:
    """Such as velocities on both sides of the border of a guidance interval."""
    _, asked = run(1.0, lambda wish: torch.ones_like(NOISE), kind=lambda sigma: sigma > 0.8)
    border = next(i for i, sigma in enumerate(FlowDPM(num_steps=20, flow_shift=3.0).schedule().sigmas) if sigma <= 0.8)
    assert asked == [0, 1, border, border + 1]


def test_expected_error() -> None:
    one = Known.after(None, 1.0, torch.tensor([3.0, 4.0]))
    assert expected_error(one, 0.9) == math.inf
    two = Known.after(one, 0.8, torch.tensor([3.0, 5.0]))
    assert expected_error(two, 0.7) == pytest.approx(0.5 / 34**0.5)
    three = Known.after(two, 0.7, torch.tensor([0.0, 0.0]))
    assert three.sigmas == (0.8, 0.7)
    assert len(three.velocities) == 2
    assert expected_error(three, 0.6) > 1e6  # of nothing, everything


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_thresholds_that_mean_nothing(threshold: float) -> None:
    with pytest.raises(ConfigError, match="give a number from 0"):
        run(threshold, bending)
