"""Steps with noise: marginals of a flow that is known, probabilities of what is drawn, and the way back to Euler."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from sanakit.common.errors import ConfigError
from sanakit.sampling.driver import drive
from sanakit.sampling.evaluation import Evaluation
from sanakit.sampling.stochastic import FlowCPS, FlowSDE

MEAN, DEVIATION = 0.6, 0.4  # of Gaussian data, whose velocities are known
BOTH = pytest.mark.parametrize("kind", [FlowSDE, FlowCPS])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(wish: Evaluation) -> Tensor:
    sigma = wish.sigma
    centred = (wish.latent - (1 - sigma) * MEAN) / ((1 - sigma) ** 2 * DEVIATION**2 + sigma**2)
    return sigma * centred - (MEAN + (1 - sigma) * DEVIATION**2 * centred)


@pytest.mark.parametrize(
    ("config", "deviations"),
    [
        (FlowSDE(num_steps=1, flow_shift=1.0, noise_level=0.0), {10: 0.339, 40: 0.383, 200: 0.397}),
        (FlowSDE(num_steps=1, flow_shift=1.0, noise_level=0.7), {10: 0.381, 40: 0.396, 200: 0.399}),
        (FlowCPS(num_steps=1, flow_shift=1.0, noise_level=0.8), {10: 0.277, 40: 0.307, 200: 0.319}),
    ],
    ids=["euler", "sde", "cps"],
)
def test_marginals_of_a_gaussian_flow(config: FlowSDE | FlowCPS, deviations: dict[int, float]) -> None:
    """The equation comes to the deviation of the data as steps grow short; the other keeps coefficients instead."""
    for steps, deviation in deviations.items():
        solver = replace(config, num_steps=steps).start(drawn(100_000), lambda step: drawn(100_000, seed=step + 1))
        found = drive(solver, exact)
        assert found.mean().item() == pytest.approx(MEAN, abs=0.005)
        assert found.std().item() == pytest.approx(deviation, abs=0.003)


@BOTH
def test_without_noise_it_is_euler(kind: type[FlowSDE | FlowCPS]) -> None:
    config = kind(num_steps=7, flow_shift=3.0, noise_level=0.0)
    latent, sigmas = drawn(2, 3), config.schedule().sigmas
    expected = latent
    for sigma, after in pairwise(sigmas):
        wish = Evaluation(expected, sigma, 1000 * sigma, 0, 7)
        expected = expected + (after - sigma) * exact(wish)
    found = drive(config.start(latent, lambda step: drawn(2, 3, seed=step)), exact)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert config.trained_steps() == ()


def test_a_drawn_latent_has_the_probability_of_a_normal_distribution() -> None:
    config = FlowSDE(num_steps=10, flow_shift=3.0)
    for step in range(10):
        found = config.transition(drawn(3, 4, 5), drawn(3, 4, 5, seed=1), step)
        assert math.isfinite(found.deviation)  # also of sigma = 1, where the next level stands in
        following = found.mean + found.deviation * drawn(3, 4, 5, seed=2)
        expected = Normal(found.mean, found.deviation).log_prob(following).flatten(1).mean(1)
        torch.testing.assert_close(found.log_probability(following), expected, rtol=0, atol=1e-12)


def test_the_slope_of_a_policy_with_one_number() -> None:
    """Of ``v = k x + c``: d log p / dc = -(x' - mean) kappa / b^2, with kappa = 1 + b^2 (1 - sigma) / (2 sigma)."""
    config, step = FlowSDE(num_steps=8, flow_shift=1.0, noise_level=0.6), 3
    sigma = config.schedule().sigmas[step]
    b = 0.6 * math.sqrt(sigma / (1 - sigma))
    x, following, c = drawn(5, 1), drawn(5, 1, seed=1), torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    found = config.transition(x, 0.7 * x + c, step)
    (slope,) = torch.autograd.grad(found.log_probability(following).sum(), c)
    kappa = 1 + b**2 * (1 - sigma) / (2 * sigma)
    expected = (-(following - found.mean) * kappa / b**2).sum()
    torch.testing.assert_close(slope, expected.detach(), rtol=1e-12, atol=0)


@BOTH
def test_divergence_is_nothing_of_the_same_step_and_grows(kind: type[FlowSDE | FlowCPS]) -> None:
    config = kind(num_steps=4, flow_shift=1.0)
    found, other = (config.transition(drawn(2, 3), drawn(2, 3, seed=seed), 1) for seed in (1, 2))
    assert found.divergence(found).tolist() == [0, 0]
    assert (found.divergence(other) > 0).all()


def test_noise_of_a_window_alone() -> None:
    config = FlowCPS(num_steps=6, flow_shift=1.0, window=(1, 3))
    asked: list[int] = []

    def draw(step: int) -> Tensor:
        asked.append(step)
        return drawn(2, 3, seed=step)

    drive(config.start(drawn(2, 3), draw), exact)
    assert asked == [1, 2]
    assert config.trained_steps() == (1, 2)
    assert FlowSDE(num_steps=4, flow_shift=1.0).trained_steps() == (0, 1, 2)  # after the last one all is decided


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise_level": 1.5}, "noise_level=1.5 must be a number from 0 to 1"),
        ({"noise_level": math.nan}, "noise_level=nan"),
        ({"window": (2, 9)}, r"window=\[2, 9\] must be two rising numbers from 0 to 4 steps"),
        ({"num_steps": 0}, "at least 1 step"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FlowCPS(**{"num_steps": 4, "flow_shift": 1.0, **settings})  # type: ignore[arg-type]
