"""A network from a component's files: built without memory, then given the file's tensors, every one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanakit.checkpoints.files.reader import read_listed
from sanakit.checkpoints.networks.finite import check_finite
from sanakit.checkpoints.networks.identify import Found, our_shapes
from sanakit.checkpoints.networks.key_maps import Origin, gather
from sanakit.checkpoints.networks.kind import C, M, NetworkState, Shapes
from sanakit.checkpoints.networks.kinds import looks_like
from sanakit.common.errors import CheckpointError
from sanakit.common.free_memory import refuse_lack
from sanakit.kernels.native import native_library

logger = logging.getLogger(__name__)


def load_network(found: Found[C, M], *, dtype: torch.dtype, device: torch.device | str = "cpu") -> M:
    """The network in evaluation mode; raises ``CheckpointError`` unless every tensor fits.

    Counters keep their integer dtype; a tensor that is right already stays mapped from its file.
    """
    native_library()  # which is chosen and logged before there is work for it
    start = time.perf_counter()
    state = read_network(found)
    converted = {
        name: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in state.tensors.items()
    }
    check_finite(converted.items(), found.header.place, state.tensors)
    model = replace(state, tensors=converted).build()
    model.eval().requires_grad_(False)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    seconds = time.perf_counter() - start
    logger.info("loaded %s: %.1fM parameters in %s in %.2f s", found.header.place.name, millions, dtype, seconds)
    return model


def read_network(found: Found[C, M]) -> NetworkState[C, M]:
    """All tensors under our names, in the dtype that they are stored in; ``CheckpointError`` unless every one fits."""
    check_whole(found)
    tensors = read_listed(found.header)
    state = {name: _assembled(tensors, origin, found.header.place) for name, origin in found.plan.origins.items()}
    return NetworkState(kind=found.kind, config=found.config, tensors=state)


def check_whole(found: Found[Any, Any]) -> None:
    """Refuse, from the header alone, a network with missing or unknown tensors, or some of another shape.

    Raises:
        CheckpointError: what does not fit, and the likeliest reason, for someone who has the file and not this code.
    """
    expected, plan, layout = found.kind.shapes(found.config), found.plan, found.layout
    strangers = [*plan.unknown, *(part for name in plan.origins.keys() - expected for part in plan.origins[name].parts)]
    missing = [*plan.missing, *(part for name in expected.keys() - plan.origins for part in layout.find_ours(name)[1])]
    complaints = []
    if missing:
        complaints.append(f"{len(missing)} of {len(expected)} expected tensors are missing ({_some(missing)})")
    if strangers:
        complaints.append(f"{len(strangers)} tensors belong to no such network ({_some(strangers)})")
    if complaints:
        raise CheckpointError(
            f"{found.header.place} does not hold the whole network that it should (in the {layout.layout} layout): "
            f"{' and '.join(complaints)}; {_diagnose(found, missing, strangers)}"
        )
    _check_shapes(our_shapes(found.header, plan), expected, found.header.place)


def _check_shapes(shapes: Shapes, expected: Shapes, where: Path) -> None:
    wrong = [name for name, shape in expected.items() if shapes[name] != shape]
    if wrong:
        first = wrong[0]
        raise CheckpointError(
            f"{where} holds {len(wrong)} tensors of another shape than its config says, such as {first}: it is "
            f"{tuple(shapes[first])} and should be {tuple(expected[first])}; is the config.json another model's?"
        )


def _diagnose(found: Found[Any, Any], missing: Sequence[str], strangers: Sequence[str]) -> str:
    names = list(found.header.tensors)
    if reason := found.kind.diagnose(names, missing, strangers):
        return reason
    if missing and not strangers:
        return "the file is a part of a model, or its config.json is of a deeper one"
    if strangers and not missing and all("blocks." in name for name in strangers):
        return "its config is of a shallower model"
    return looks_like(names)


def _assembled(tensors: Mapping[str, Tensor], origin: Origin, where: Path) -> Tensor:
    try:
        return gather(tensors, origin)
    except (RuntimeError, IndexError) as error:
        refuse_lack(error)
        raise CheckpointError(f"{where} is damaged: {', '.join(origin.parts)} do not fit together") from error


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
