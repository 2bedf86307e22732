"""Chunks of a clip, each some steps behind the one before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.sampling.driver import drive
from sanakit.sampling.evaluation import Evaluation
from sanakit.sampling.flow_euler import FlowEuler
from sanakit.sampling.staggered_euler import StaggeredEuler

NOISE = torch.randn(1, 2, 7, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CLEAN = torch.randn(1, 2, 7, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def straight(wish: Evaluation) -> Tensor:
    """Of a flow that leads to ``CLEAN`` from wherever it is; none where a frame is there."""
    assert wish.frame_sigmas is not None
    sigmas = torch.tensor(wish.frame_sigmas, dtype=torch.float64)[:, None, None]
    way = wish.latent - CLEAN[:, :, : wish.latent.shape[2]]
    return torch.where(sigmas > 0, way / sigmas.clamp(min=1e-9), 7.0)


@pytest.mark.parametrize("interval", [None, 0.0, 0.5, 1.0])
def test_it_finds_what_the_flow_leads_to(interval: float | None) -> None:
    solver = StaggeredEuler(num_steps=6, flow_shift=3.0, chunk=2, interval=interval)
    seen: list[Tensor] = []
    found = drive(solver.start(NOISE), straight, lambda wish, clean: seen.append(clean))
    torch.testing.assert_close(found, CLEAN, rtol=0, atol=1e-6)
    for clean in seen:
        torch.testing.assert_close(clean, CLEAN[:, :, : clean.shape[2]], rtol=0, atol=1e-6)


def test_when_chunks_begin_and_end() -> None:
    solver = StaggeredEuler(num_steps=6, flow_shift=3.0, chunk=2)
    assert solver.sizes(7) == [3, 2, 2]  # the first has what is left over
    assert solver.sizes(1) == [1]
    assert solver.starts(3) == [0, 2, 4]
    wishes: list[Evaluation] = []
    drive(solver.start(NOISE), straight, lambda wish, clean: wishes.append(wish))
    assert [wish.latent.shape[2] for wish in wishes] == [3, 3, 5, 5, 7, 7, 7, 7, 7, 7]
    levels = FlowEuler(num_steps=6, flow_shift=3.0).schedule().sigmas
    assert wishes[4].frame_sigmas == (*[levels[4]] * 3, *[levels[2]] * 2, *[levels[0]] * 2)
    assert wishes[9].frame_sigmas == (*[0.0] * 5, *[levels[5]] * 2)
    assert torch.equal(wishes[9].latent[:, :, :3], wishes[6].latent[:, :, :3])  # whatever the velocity of what is done


def test_one_chunk_is_flow_euler() -> None:
    def velocity(wish: Evaluation) -> Tensor:
        return torch.tanh(wish.latent) * wish.sigma

    plain = FlowEuler(num_steps=5, flow_shift=3.0).start(NOISE, lambda step: NOISE)
    staggered = StaggeredEuler(num_steps=5, flow_shift=3.0, chunk=7).start(NOISE)
    assert torch.equal(drive(staggered, velocity), drive(plain, velocity))


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"interval": 1.5}, {"num_steps": 0}])
def test_what_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        StaggeredEuler(**{"num_steps": 5, "flow_shift": 3.0, "chunk": 2, **wrong})  # type: ignore[arg-type]
