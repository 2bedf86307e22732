"""Steps that are taken back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanakit.sampling.driver import drive
from sanakit.sampling.evaluation import Evaluation
from sanakit.sampling.resampling import LEVELS, resampling
from sanakit.sampling.solvers import solver_of


def draw(number: int) -> Tensor:
    return torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(number), dtype=torch.float64)


@pytest.mark.parametrize("name", ["flow-dpm", "flow-euler", "scm"])
@pytest.mark.parametrize("times", [0, 3])
def test_what_is_known_is_reached_and_levels_are_visited_again(name: str, times: int) -> None:
    config = solver_of(name, num_steps=8, flow_shift=2.0)
    known, noise = draw(100), draw(101)
    visits: list[float] = []

    def velocity(wish: Evaluation) -> Tensor:
        visits.append(wish.sigma)
        return (wish.latent - known) / wish.sigma

    first = config.schedule().first_latent(noise, known, 0)
    solver = resampling(
        config.start(first, draw),
        lambda latent, step, previous: config.start(latent, draw, start=step, previous=previous),
        draw,
        times,
    )
    found = drive(solver, velocity)
    torch.testing.assert_close(found, known)
    inside = sum(LEVELS[0] <= sigma <= LEVELS[1] for sigma in config.schedule().sigmas[:-1])
    assert inside > 1
    assert len(visits) == 8 + times * inside
    if times == 0:
        plain = drive(config.start(first, draw), velocity)
        assert torch.equal(plain, found)
