"""Run one solver with one velocity function."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sanakit.sampling.evaluation import Evaluation, Solver

VelocityFunction = Callable[[Evaluation], Tensor]
OnStep = Callable[[Evaluation, Tensor], None]


def drive(solver: Solver, velocity_fn: VelocityFunction, on_step: OnStep | None = None) -> Tensor:
    """Answer every wish of ``solver`` with ``velocity_fn`` and return the latent at sigma = 0.

    ``on_step(evaluation, denoised)`` is called after each answer, ``denoised`` being the clean latent that the
    answer implies (a preview). Whatever either function raises ends the run and closes the solver.
    """
    try:
        evaluation = next(solver)
        while True:
            velocity = velocity_fn(evaluation)
            if on_step is not None:
                on_step(evaluation, evaluation.denoised(velocity))
            evaluation = solver.send(velocity)
    except StopIteration as finished:
        latent: Tensor = finished.value
        return latent
    finally:
        solver.close()
