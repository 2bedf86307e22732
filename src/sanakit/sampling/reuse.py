"""Steps without a network call: where the velocity hardly changes, the last one that was evaluated serves again.

Between its last two evaluations the velocity changed by some share of its size; that share, stretched to the next noise
level, is the error that reusing it is expected to make. Where it is below ``threshold`` the call is spared. Every
spared step lies further from the last evaluation, so that the expected error grows until one is evaluated again.

What changes little between steps is reused by TeaCache (arXiv:2411.19108) and its kin inside of the network; here it is
the velocity itself, guidance and all, so that no network need know of it. Straight lines and parabolas through the last
velocities were tried and are worse: their differences are noisier than what they foretell.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from sanakit.common.errors import ConfigError
from sanakit.sampling.evaluation import Known, Solver

if TYPE_CHECKING:
    from torch import Tensor

MAX_THRESHOLD = 1.0


def reusing(
    solver: Solver, threshold: float, *, kind: Callable[[float], Hashable], known: Known | None = None
) -> Solver:
    """The same solver, which asks for fewer velocities: an evaluation that is yielded is one that is needed.

    Args:
        solver: not begun yet.
        threshold: of the expected error over the size of the velocity, both as norms; 0 spares nothing.
        kind: what a velocity at a noise level is made of; only one of the same kind is reused, such as one with
            guidance.
        known: what an evaluation remembered, where a run is to go on from it.

    Raises:
        ConfigError: the threshold is no number from 0 to 1.
    """
    if not 0.0 <= threshold <= MAX_THRESHOLD:
        raise ConfigError(f"reuse={threshold} is not usable; give a number from 0 (off) to 1.")
    return _reusing(solver, threshold, kind, known)


def _reusing(solver: Solver, threshold: float, kind: Callable[[float], Hashable], known: Known | None) -> Solver:
    wish = next(solver)
    while True:
        if known is not None and kind(known.sigmas[-1]) != kind(wish.sigma):
            known = None
        if known is not None and expected_error(known, wish.sigma) < threshold:
            velocity: Tensor = known.velocities[-1]
        else:
            velocity = yield replace(wish, known=known)
            known = Known.after(known, wish.sigma, velocity)
        try:
            wish = solver.send(velocity)
        except StopIteration as end:
            latent: Tensor = end.value
            return latent


def expected_error(known: Known, sigma: float) -> float:
    """Of the last velocity at ``sigma``, over its size; infinite where only one is known."""
    if len(known.sigmas) < 2:
        return float("inf")
    (first, last), (before, velocity) = known.sigmas, known.velocities.unbind()
    change = float((velocity - before).norm()) / max(float(velocity.norm()), 1e-30)
    return change * abs((sigma - last) / (last - first))
