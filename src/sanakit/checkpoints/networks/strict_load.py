"""A network from a component's files: built without memory, then given the file's tensors, every one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.checkpoints.files.reader import read_listed
from sanakit.checkpoints.networks.finite import check_finite
from sanakit.checkpoints.networks.identify import Found, our_shapes
from sanakit.checkpoints.networks.key_maps import Origin, gather
from sanakit.checkpoints.networks.kind import C, M, NetworkState, Shapes
from sanakit.checkpoints.networks.kinds import looks_like
from sanakit.common.errors import CheckpointError, ConfigError, RequestError
from sanakit.common.free_memory import refuse_lack
from sanakit.kernels.native import native_library
from sanakit.quantization.quantize import Quantization, Seen, lay_out_, quantize_, quantize_layers_, schemes_of
from sanakit.quantization.schemes import Scheme

logger = logging.getLogger(__name__)


def load_network(
    found: Found[C, M], *, dtype: torch.dtype, device: torch.device | str = "cpu", quantize: Scheme | None = None
) -> M:
    """The network in evaluation mode; raises ``CheckpointError`` unless every tensor fits.

    Counters keep their integer dtype; a tensor that is right already stays mapped from its file, and every other leaves
    its file's memory as soon as it is made into one: there is no second copy of the weights.

    Args:
        dtype: of what is not quantized, and of the activations.
        quantize: exchange its layers, one after the other, for ones in this scheme, made from the weights as stored.
    """
    native_library()  # which is chosen and logged before there is work for it
    start = time.perf_counter()
    empty = check_whole(found)
    model = _state_of(found).build(empty).eval().requires_grad_(False)
    if quantize is not None:
        quantize_found_(model, found, quantize)
    settle_(model, found.header.place, dtype=dtype, device=device)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    seconds = time.perf_counter() - start
    logger.info("loaded %s: %.1fM parameters in %s in %.2f s", found.header.place.name, millions, dtype, seconds)
    return model


def lay_out_network(found: Found[C, M], *, dtype: torch.dtype, quantize: Scheme | None = None) -> M:
    """The same network without its weights, which the file is seen to have."""
    model = check_whole(found)
    if quantize is not None and not found.quantization:
        with torch.device("meta"):
            lay_out_(model, schemes_of(model, quantize))
    return model.to(dtype).eval().requires_grad_(False)


def settle_(
    model: nn.Module,
    where: Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    as_stored: Collection[nn.Module] = (),
) -> None:
    """Move a network, one layer after the other; raises ``CheckpointError`` at the first value that is no number. Of
    the layers ``as_stored``, whose values were looked at, the device alone is changed."""
    for prefix, layer in model.named_modules():
        stored = dict(_own_tensors(layer, prefix))
        if layer in as_stored:
            layer._apply(lambda tensor: tensor.to(device), recurse=False)
            continue
        layer._apply(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None), recurse=False)
        check_finite(_own_tensors(layer, prefix), where, stored)


def _own_tensors(layer: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Of a layer itself, not of those inside; as they are now, whatever becomes of the layer's parameters."""
    for name, tensor in (*layer.named_parameters(prefix, False), *layer.named_buffers(prefix, False)):
        yield name, tensor.detach()


def read_network(found: Found[C, M]) -> NetworkState[C, M]:
    """All tensors under our names, in the dtype that they are stored in; ``CheckpointError`` unless every one fits."""
    check_whole(found)
    return _state_of(found)


def _state_of(found: Found[C, M]) -> NetworkState[C, M]:
    tensors = read_listed(found.header)
    state = {name: _assembled(tensors, origin, found.header.place) for name, origin in found.plan.origins.items()}
    return NetworkState(kind=found.kind, config=found.config, tensors=state, quantization=found.quantization)


def quantize_found_(
    model: nn.Module, found: Found[Any, Any], scheme: Scheme | Quantization, seen: Seen | None = None
) -> Quantization:
    """Quantize a network that was read from a file, each layer in its own scheme or all in one, unless it lies there in
    just that one.

    Raises:
        RequestError: it lies there in another scheme, or nothing of it can be quantized.
    """
    try:
        if isinstance(scheme, Quantization):
            return quantize_layers_(model, scheme)
        if (
            found.quantization
            and schemes_of(found.kind.empty(found.config), scheme).layers == found.quantization.layers
        ):
            return found.quantization
        return quantize_(model, scheme, seen=seen)
    except (RequestError, ConfigError) as error:
        raise type(error)(f"{found.header.place}: {error}") from error


def check_whole(found: Found[C, M]) -> M:
    """The network without memory; refused, from the header alone, is one with missing or unknown tensors, or some of
    another shape.

    Raises:
        CheckpointError: what does not fit, and the likeliest reason, for someone who has the file and not this code.
    """
    empty, plan, layout = _empty(found), found.plan, found.layout
    expected: dict[str, Tensor] = empty.state_dict()
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
    _check_shapes(
        our_shapes(found.header, plan), {name: tuple(each.shape) for name, each in expected.items()}, found.header.place
    )
    _check_stored(found, expected)
    return empty


def _empty(found: Found[C, M]) -> M:
    try:
        return found.kind.empty(found.config, found.quantization)
    except ConfigError as error:
        raise CheckpointError(f"{found.header.place}: {error}") from error


def _check_stored(found: Found[Any, Any], expected: Mapping[str, Tensor]) -> None:
    """Of quantized layers the dtypes are part of the scheme; everything else is floating-point numbers."""
    for name, tensor in expected.items() if found.quantization else ():
        dtype = found.header.tensors[found.plan.origins[name].parts[0]].dtype
        wanted = str(tensor.dtype).removeprefix("torch.")
        is_quantized = name.rpartition(".")[0] in found.quantization.layers and not name.endswith(".bias")
        if (dtype != wanted) if is_quantized else (dtype not in found.kind.dtypes and tensor.is_floating_point()):
            wanted = wanted if is_quantized else "floating-point"
            raise CheckpointError(
                f"{found.header.place} holds {dtype} numbers as {name}, and {wanted} ones are due by its config.json"
            )


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
