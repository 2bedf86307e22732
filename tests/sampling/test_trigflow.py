"""Angles in the place of noise levels: identities in float64, and a Gaussian whose flow is known in both views."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.sampling.driver import drive
from sanakit.sampling.evaluation import Evaluation
from sanakit.sampling.scm import SCM, scm_angles
from sanakit.sampling.trigflow import SIGMA_DATA, angle_of, consistency, path_scale, sigma_of, trigflow

ANGLES = torch.linspace(0.0, math.pi / 2, 101, dtype=torch.float64)
MEAN, DEVIATION = 0.7, 0.6  # of the data, where its own deviation would be 1


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flow_velocity(latent: Tensor, sigma: Tensor) -> Tensor:
    """E[noise - picture | latent] of N(MEAN, DEVIATION^2) on the straight path."""
    sigma = sigma.reshape(-1, *[1] * (latent.ndim - 1))
    variance = (1 - sigma) ** 2 * DEVIATION**2 + sigma**2
    centred = (latent - (1 - sigma) * MEAN) / variance
    return sigma * centred - (MEAN + (1 - sigma) * DEVIATION**2 * centred)


def exact_consistency(x: Tensor, angle: Tensor) -> Tensor:
    """Where the flow of that Gaussian ends, in TrigFlow's own units."""
    cos, sin = angle.cos(), angle.sin()
    mean, deviation = SIGMA_DATA * MEAN, SIGMA_DATA * DEVIATION
    spread = (cos**2 * deviation**2 + sin**2 * SIGMA_DATA**2).sqrt()
    return mean + deviation / spread * (x - cos * mean)


def test_angles_and_noise_levels_are_one_thing() -> None:
    for angle in ANGLES.tolist():
        sigma, scale = sigma_of(angle), path_scale(angle)
        assert angle_of(sigma) == pytest.approx(angle, abs=1e-12)
        assert scale == pytest.approx(math.hypot(sigma, 1 - sigma), abs=1e-12)
        assert scale * math.cos(angle) == pytest.approx(1 - sigma, abs=1e-12)
        change = (sigma_of(angle + 1e-5) - sigma_of(angle - 1e-5)) / 2e-5
        assert change == pytest.approx(scale**2, abs=1e-9)


def test_the_view_of_a_flow_is_the_trigonometric_flow() -> None:
    cos, sin = ANGLES.cos(), ANGLES.sin()
    mean, deviation = SIGMA_DATA * MEAN, SIGMA_DATA * DEVIATION
    x = SIGMA_DATA * noise(len(ANGLES))
    variance = cos**2 * deviation**2 + sin**2 * SIGMA_DATA**2
    expected = cos * sin * (SIGMA_DATA**2 - deviation**2) / variance * (x - cos * mean) - sin * mean
    found = SIGMA_DATA * trigflow(flow_velocity)(x / SIGMA_DATA, ANGLES)
    assert (found - expected).abs().max() < 1e-12


def test_it_is_upstreams_form_with_square_roots() -> None:
    """Of any network, on latents of any shape."""

    def network(latent: Tensor, sigma: Tensor) -> Tensor:
        return torch.sin(3 * latent) + sigma[:, None, None] ** 2

    u, angle = noise(101, 4, 5), ANGLES
    sigma = (angle.sin() / (angle.sin() + angle.cos()))[:, None, None]
    scale = (sigma**2 + (1 - sigma) ** 2).sqrt()
    v = network(scale * u, sigma.flatten())
    expected = ((1 - 2 * sigma) * scale * u + (1 - 2 * sigma + 2 * sigma**2) * v) / scale
    assert (trigflow(network)(u, angle) - expected).abs().max() < 1e-12


def test_consistency_ends_where_it_began_without_noise() -> None:
    x = noise(3, 2, 2)
    clean = consistency(trigflow(lambda latent, sigma: torch.full_like(latent, 1e6)))
    assert torch.equal(clean(x, torch.zeros(3, dtype=torch.float64)), x)


def test_consistency_is_the_denoised_latent_of_the_straight_path() -> None:
    """So that the sampler can work there, with every other solver's notion of a clean latent."""
    x, sigma = SIGMA_DATA * noise(101), torch.tensor([sigma_of(angle) for angle in ANGLES.tolist()]).double()
    latent = torch.tensor([path_scale(angle) for angle in ANGLES.tolist()]).double() * x / SIGMA_DATA
    found = consistency(trigflow(flow_velocity))(x, ANGLES) / SIGMA_DATA
    torch.testing.assert_close(found, latent - sigma * flow_velocity(latent, sigma), rtol=0, atol=1e-6)


@pytest.mark.parametrize("angles", [scm_angles(1), scm_angles(2), scm_angles(4), scm_angles(7), (1.5, 0.2)])
def test_with_the_exact_consistency_function_samples_keep_mean_and_deviation(angles: tuple[float, ...]) -> None:
    solver, num = SCM(angles=angles), 400_000
    schedule = solver.schedule()

    def velocity(wish: Evaluation) -> Tensor:
        angle = torch.tensor(angle_of(wish.sigma), dtype=torch.float64)
        x = SIGMA_DATA * wish.latent / path_scale(float(angle))
        return (wish.latent - exact_consistency(x, angle) / SIGMA_DATA) / wish.sigma

    first = schedule.first_latent(noise(num))
    samples = drive(solver.start(first, lambda step: noise(num, seed=step + 1)), velocity)
    error = DEVIATION / math.sqrt(num)
    assert float(samples.mean()) == pytest.approx(MEAN, abs=4 * error + MEAN * math.cos(angles[0]))
    assert float(samples.std()) == pytest.approx(DEVIATION, abs=4 * error + 0.01 * (angles[0] < 1.55))


def test_angles_of_numbers_of_steps() -> None:
    assert scm_angles(1) == (math.pi / 2,)
    assert scm_angles(2) == (math.pi / 2, 1.3)
    assert scm_angles(4) == (pytest.approx(1.5683, abs=1e-5), 1.3, 1.1, 0.6)
    assert scm_angles(3) == pytest.approx((math.pi / 2, math.pi / 3, math.pi / 6))
    levels = SCM(angles=scm_angles(4)).schedule().sigmas
    assert levels == pytest.approx((0.99751, 0.78271, 0.66270, 0.40622, 0.0), abs=1e-5)


def test_half_of_pi_as_it_is_published_is_all_noise() -> None:
    schedule = SCM(angles=(1.5708, 1.3)).schedule()
    assert schedule.sigmas[0] == 1.0
    assert schedule.timesteps[0] == 1000.0
    assert schedule.first_latent(noise(2)).equal(noise(2))


def test_a_later_beginning_takes_the_place_of_larger_angles() -> None:
    solver = SCM(angles=scm_angles(4))
    assert solver.beginning_at(1.2).angles == (1.2, 1.1, 0.6)
    assert solver.beginning_at(0.1).angles == (0.1,)


@pytest.mark.parametrize("angles", [(), (0.0,), (1.3, 1.3), (1.0, 1.3), (1.6,), (1.3, -0.1), (math.nan,)])
def test_angles_that_cannot_be_used(angles: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"angles=.* must fall from at most 1\.5708 to above 0"):
        SCM(angles=angles)


def test_no_step_at_all() -> None:
    with pytest.raises(ConfigError, match="at least 1 step"):
        scm_angles(0)


def test_its_noise_is_asked_for_by_step_and_not_in_the_last() -> None:
    asked: list[int] = []

    def draw(step: int) -> Tensor:
        asked.append(step)
        return noise(2, seed=step)

    solver: Callable[..., Tensor] = lambda start: drive(  # noqa: E731
        SCM(angles=scm_angles(4)).start(noise(2), draw, start=start), lambda wish: wish.latent
    )
    solver(0)
    solver(2)
    assert asked == [0, 1, 2, 2]
