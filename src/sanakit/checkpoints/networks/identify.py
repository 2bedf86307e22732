"""What a network on the disk is: told once, from its header and the config beside it, and handed on from there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from sanakit.checkpoints.files.reader import WeightHeader
from sanakit.checkpoints.networks.key_maps import KeyMap, Plan, gathered_shape
from sanakit.checkpoints.networks.kind import QUANTIZATION, C, Json, M, NetworkKind, Shapes
from sanakit.checkpoints.networks.kinds import looks_like
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.quantization.quantize import Quantization

_SCALES = ("scaled_fp8", ".scale_weight", ".weight_scale", ".scale_input", ".weight_scale_inv")  # of eight-bit floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Found(Generic[C, M]):
    """One network on the disk: its kind, config and layout, and where each of its tensors lies."""

    kind: NetworkKind[C, M]
    config: C
    header: WeightHeader
    layout: KeyMap
    plan: Plan
    quantization: Quantization = field(default_factory=Quantization)

    def refuse_quantized(self, doing: str) -> None:
        """Raises CheckpointError where its weights are quantized, and ``doing`` something needs plain ones."""
        if self.quantization:
            raise CheckpointError(
                f"{self.header.place} is quantized ({self.quantization.name}) and {doing} needs plain weights; name "
                f"the model that it was made from"
            )

    @property
    def stored_dtypes(self) -> set[str]:
        """Of all tensors in the files."""
        return {info.dtype for info in self.header.tensors.values()}


def identify(
    kind: NetworkKind[C, M], header: WeightHeader, *, config: Json | None = None, names: str = ""
) -> Found[C, M]:
    """Tell config and layout of a network from its header.

    Args:
        kind: what it should be.
        header: of its files.
        config: the ``config.json`` beside them, or inside, if it is diffusers'; else shapes and names must tell.
        names: what the files and their source are called, for what tensors do not show.

    Raises:
        CheckpointError: it is of another kind, quantized, or does not fit its config.
    """
    layout = kind.layout_of(header.tensors)
    if layout is None:
        raise CheckpointError(f"{header.place} is not a {kind.noun}: {looks_like(header.tensors)}")
    plan = layout.plan(header.tensors)
    beside = header.files[0].with_name("config.json")
    place = beside if config is not None and beside.is_file() else header.place
    try:
        quantization, config = _split(config)
        _check_dtypes(kind, header, plan, quantization)
        if config is None:
            dropped = {name: header.tensors[name].shape for name in plan.dropped}
            found = kind.infer({**dropped, **our_shapes(header, plan)}, names)
        else:
            found = kind.from_json(config)
            _check_fields(config, kind.to_json(found))
    except (CheckpointError, ConfigError) as error:
        remark = "" if config is not None else f"; {looks_like(header.tensors)}"
        raise CheckpointError(f"{place}: {error}{remark}") from error
    _check_depth(kind, found, plan, header.place, place)
    return Found(kind=kind, config=found, header=header, layout=layout, plan=plan, quantization=quantization)


def _split(config: Json | None) -> tuple[Quantization, Json | None]:
    """What a config says of fewer bits, and the config of the plain network."""
    if config is None or config.get(QUANTIZATION) is None:
        return Quantization(), config
    plain = {name: value for name, value in config.items() if name != QUANTIZATION}
    return Quantization.from_json(config[QUANTIZATION]), plain


def our_shapes(header: WeightHeader, plan: Plan) -> Shapes:
    """The shapes of our tensors, from a header alone; tensors that are there in part are left out."""
    shapes = {name: info.shape for name, info in header.tensors.items()}
    whole = {name: origin for name, origin in plan.origins.items() if all(part in shapes for part in origin.parts)}
    try:
        return {name: gathered_shape(shapes, origin) for name, origin in whole.items()}
    except IndexError:
        raise CheckpointError("it is damaged: a projection is stored as a single number") from None


def _check_dtypes(kind: NetworkKind[Any, Any], header: WeightHeader, plan: Plan, quantization: Quantization) -> None:
    """Weights are what the kind takes: floating-point numbers, unless it says more, and none to be multiplied first.

    What a quantized layer holds is compared with its scheme as the network is loaded.
    """
    if quantization:
        return
    if scale := next((name for name in header.tensors if name.endswith(_SCALES)), None):
        raise CheckpointError(
            f"{header.place} holds weights with their scales beside them, such as {scale}, which are not followed; a "
            f"quantized model must be turned back into plain weights first"
        )
    for name, origin in plan.origins.items():
        part = next((part for part in origin.parts if part in header.tensors), None)
        dtype = "" if part is None else header.tensors[part].dtype
        if part and dtype not in kind.dtypes and not name.endswith("num_batches_tracked"):
            raise CheckpointError(
                f"{header.place} holds {dtype} weights, such as {part}; sanakit reads floating-point ones, so a "
                f"quantized model must be turned back into those first"
            )


def _check_fields(config: Json, known: Json) -> None:
    """Refuse a setting that is not among those that are read and written: it would need another network than ours."""
    for name, value in config.items():
        if name not in known and value is not None and not name.startswith("_"):
            reason = "its weights are quantized" if "quantization" in name else "remove it if it means nothing"
            raise CheckpointError(f"{name} is a setting that sanakit does not follow; {reason}")


def _check_depth(kind: NetworkKind[C, Any], config: C, plan: Plan, place: Path, config_place: Path) -> None:
    """Refuse a config that asks for more blocks than there are, before a network of any depth is built."""
    matches = (re.match(kind.block_name, name) for name in plan.origins)
    found = len({match[0] for match in matches if match})
    if (wanted := kind.num_blocks(config)) > found:
        raise CheckpointError(
            f"{config_place} asks for {wanted} blocks and {place.name} holds {found}: the weights are a part of a "
            f"model, or the config is of a deeper one"
        )
