"""A scheduler's config as diffusers has it: what of it is followed, and what must be as our solvers have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sanakit.common.errors import CheckpointError
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.schedules import MAX_FLOW_SHIFT
from sanakit.sampling.scm import SCM
from sanakit.sampling.solvers import SOLVERS, SolverConfig, solver_of

_SHIFTS = ("flow_shift", "shift")  # what the two classes call it; both take 1 where it is absent
# What changes nothing where it is off, and ours never does.
_OFF = frozenset({
    "euler_at_final", "invert_sigmas", "shift_terminal", "stochastic_sampling", "thresholding", "use_beta_sigmas",
    "use_dynamic_shifting", "use_exponential_sigmas", "use_karras_sigmas", "use_lu_lambdas",
})  # fmt: skip
# What says how a thing is done that is not done here: the noise of diffusion models, or one of those above.
_UNUSED = frozenset({
    "base_image_seq_len", "base_shift", "beta_end", "beta_schedule", "beta_start", "dynamic_thresholding_ratio",
    "lambda_min_clipped", "max_image_seq_len", "max_shift", "rescale_betas_zero_snr", "sample_max_value",
    "steps_offset", "time_shift_type", "timestep_spacing", "trained_betas", "variance_type",
})  # fmt: skip


def known_solver(scheduler: Mapping[str, Any] | None) -> str:
    """The solver of ours that does what diffusers' scheduler does; Flow-DPM where none does."""
    kind = _kind(scheduler)
    return kind.name if kind is not None else FlowDPM.name


def scheduler_defaults(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """Solver and flow shift, as far as it says them."""
    kind = _kind(scheduler)
    given = [scheduler[name] for name in _SHIFTS if scheduler.get(name)]
    if kind is SCM:
        return {"solver": kind.name}
    if kind is None:
        return {"flow_shift": float(given[0])} if given else {}
    return {"solver": kind.name, "flow_shift": float(given[0]) if given else 1.0}


def check_scheduler(scheduler: Mapping[str, Any], *, is_sprint: bool, where: str) -> None:
    """Refuse a scheduler that would make other pictures than our solver of its name.

    Args:
        scheduler: its ``scheduler_config.json``.
        is_sprint: whether it is of a SANA-Sprint model, which has one of its own.
        where: the file, for the sentence of an error.

    Raises:
        CheckpointError: its class, or a field that is named, is not followed.
    """
    kind, name = _kind(scheduler), scheduler.get("_class_name", FlowDPM.diffusers_class)
    if kind is None or (kind is SCM) != is_sprint:
        followed = [each for each in SOLVERS.values() if (each is SCM) == is_sprint]
        classes = " and ".join(dict.fromkeys(each.diffusers_class for each in followed))
        instead = followed[0].a1111_name
        raise CheckpointError(
            f"{where} names {name!r}, and sanakit follows {classes} of such a model; remove it to use {instead}"
        )
    settings = solver_of(kind.name, num_steps=1, flow_shift=1.0).to_diffusers()
    for field, value in scheduler.items():
        if field in _SHIFTS and field in settings:
            if type(value) not in (int, float) or not 0 < value <= MAX_FLOW_SHIFT:
                raise CheckpointError(f"{field} in {where} is {value!r}; give one above 0, at most {MAX_FLOW_SHIFT:g}")
        elif field in settings and value != settings[field]:
            raise CheckpointError(f"{field} in {where} is {value!r}, and sanakit follows {settings[field]!r} alone")
        elif field in _OFF and value:
            raise CheckpointError(f"{field} in {where} is {value!r}, which sanakit does not follow; it must be off")
        elif not (field in settings or field in _OFF or field in _UNUSED or field.startswith("_")):
            raise CheckpointError(f"{field} in {where} is a setting that sanakit does not follow; remove it")


def _kind(scheduler: Mapping[str, Any] | None) -> type[SolverConfig] | None:
    name = scheduler.get("_class_name", FlowDPM.diffusers_class) if scheduler is not None else None
    return next((kind for kind in SOLVERS.values() if kind.diffusers_class == name), None)
