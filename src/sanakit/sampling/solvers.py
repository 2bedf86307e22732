"""The table of solvers: everyone who names one asks here, and asks it for what it is called elsewhere."""

from __future__ import annotations

from sanakit.common.errors import ConfigError
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.flow_euler import FlowEuler

SolverConfig = FlowDPM | FlowEuler

SOLVERS: dict[str, type[SolverConfig]] = {kind.name: kind for kind in (FlowDPM, FlowEuler)}


def solver_kind(name: str) -> type[SolverConfig]:
    """The solver of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SOLVERS:
        raise ConfigError(f"there is no solver {name!r}; it must be {solver_names()}")
    return SOLVERS[name]


def solver_names() -> str:
    """All names, for a sentence."""
    return " or ".join(SOLVERS)
