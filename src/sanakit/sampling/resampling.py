"""Noise levels visited several times, so that what is made comes to fit what is kept.

A step sees what is kept under noise only, and by the time that it is clear the rest has been decided. So a step is
taken back: the clean latent that it implies, with what is kept in it, is put under new noise of the same level, and the
step is asked for again.

Source: RePaint, arXiv:2201.09865, section 4.2, with jumps of one step to the clean latent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sanakit.sampling.evaluation import Draw, Solver

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = (0.5, 0.98)
"""Noise levels in which a step is taken back."""


def resampling(solver: Solver, again: Callable[[Tensor, int, Tensor | None], Solver], draw: Draw, times: int) -> Solver:
    """The same solver, which visits each of `LEVELS` ``times`` more.

    Args:
        solver: not begun yet.
        again: the solver from a latent on, at a step, with what a multistep solver remembers.
        draw: noise of a number, of the latent's shape.
    """
    wish = next(solver)
    while True:
        for number in range(times if LEVELS[0] <= wish.sigma <= LEVELS[1] else 0):
            velocity = yield wish
            denoised = wish.latent - wish.sigma * velocity
            noise = draw(wish.total * (number + 1) + wish.index)
            solver.close()
            solver = again((1.0 - wish.sigma) * denoised + wish.sigma * noise, wish.index, wish.previous)
            wish = next(solver)
        try:
            wish = solver.send((yield wish))
        except StopIteration as end:
            latent: Tensor = end.value
            return latent
