"""The table of solvers: everyone who names one asks here, and asks it for what it is called elsewhere."""

from __future__ import annotations

from sanakit.common.errors import ConfigError
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.flow_euler import FlowEuler
from sanakit.sampling.scm import SCM, scm_angles
from sanakit.sampling.stochastic import FlowCPS, FlowSDE

SolverConfig = FlowDPM | FlowEuler | SCM | FlowSDE | FlowCPS

SOLVERS: dict[str, type[SolverConfig]] = {kind.name: kind for kind in (FlowDPM, FlowEuler, SCM, FlowSDE, FlowCPS)}


def solver_kind(name: str) -> type[SolverConfig]:
    """The solver of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SOLVERS:
        raise ConfigError(f"there is no solver {name!r}; it must be {solver_names()}.")
    return SOLVERS[name]


def solver_of(name: str, *, num_steps: int, flow_shift: float, angles: tuple[float, ...] | None = None) -> SolverConfig:
    """The solver of that name with what it takes of these settings: angles, or steps and a shift.

    Raises:
        ConfigError: there is none, or it cannot work so.
    """
    kind = solver_kind(name)
    if issubclass(kind, SCM):
        return SCM(angles=scm_angles(num_steps) if angles is None else angles)
    return kind(num_steps=num_steps, flow_shift=flow_shift)


def solver_names() -> str:
    """All names, for a sentence."""
    *first, last = SOLVERS
    return f"{', '.join(first)} or {last}"
