"""A network from a component's files: built without memory, then given the file's tensors, every one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sanakit.checkpoints.dc_ae_keys import find_dc_ae_layout
from sanakit.checkpoints.diffusers_config import dc_ae_from_json, linear_dit_from_json
from sanakit.checkpoints.infer_config import Shapes, infer_dc_ae_config, infer_linear_dit_config, looks_like
from sanakit.checkpoints.key_maps import KeyMap, Plan, gather, gathered_shape
from sanakit.checkpoints.linear_dit_keys import find_linear_dit_layout
from sanakit.checkpoints.reader import WeightHeader, read_header, read_tensors
from sanakit.common.errors import CheckpointError
from sanakit.models.dc_ae import DCAutoencoder, DCAutoencoderConfig
from sanakit.models.linear_dit import LinearDiT, LinearDiTConfig

M = TypeVar("M", bound=nn.Module)
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightSource:
    """Where one network lies on the disk."""

    files: tuple[Path, ...]
    config: Mapping[str, Any] | None = None  # the ``config.json`` beside them, if it is diffusers'
    names: str = ""  # what the files and their source are called, for what tensors do not show

    @property
    def place(self) -> Path:
        """The file, or the folder of several, for error messages."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent


def load_linear_dit(source: WeightSource, *, dtype: torch.dtype, device: torch.device | str = "cpu") -> LinearDiT:
    """The transformer of a source, in evaluation mode; raises ``CheckpointError`` unless every tensor fits."""
    config, layout = identify_linear_dit(source, read_header(source.files))
    return load(LinearDiT, config, layout, source, dtype=dtype, device=device)


def load_dc_ae(source: WeightSource, *, dtype: torch.dtype, device: torch.device | str = "cpu") -> DCAutoencoder:
    """The autoencoder of a source, in evaluation mode; raises ``CheckpointError`` unless every tensor fits."""
    config, layout = identify_dc_ae(source, read_header(source.files))
    return load(DCAutoencoder, config, layout, source, dtype=dtype, device=device)


def identify_linear_dit(source: WeightSource, header: WeightHeader) -> tuple[LinearDiTConfig, KeyMap]:
    """Config and layout of a transformer, from its header and the config beside it."""
    layout = find_linear_dit_layout(header.tensors)
    if layout is None:
        raise CheckpointError(f"{source.place} is not a SANA transformer: {looks_like(header.tensors)}")
    if source.config is not None:
        return linear_dit_from_json(source.config), layout
    position = header.tensors.get("pos_embed") or header.tensors.get("patch_embed.pos_embed")
    try:
        shapes = our_shapes(header, layout)
        stored = position.shape if position else None
        config = infer_linear_dit_config(shapes, names=source.names, position_shape=stored)
    except CheckpointError as error:
        raise CheckpointError(f"{source.place}: {error}; {looks_like(header.tensors)}") from error
    return config, layout


def identify_dc_ae(source: WeightSource, header: WeightHeader) -> tuple[DCAutoencoderConfig, KeyMap]:
    """Config and layout of an autoencoder, from its header and the config beside it."""
    layout = find_dc_ae_layout(header.tensors)
    if layout is None:
        raise CheckpointError(f"{source.place} is not a DC-AE autoencoder: {looks_like(header.tensors)}")
    if source.config is not None:
        return dc_ae_from_json(source.config), layout
    try:
        return infer_dc_ae_config(our_shapes(header, layout), names=source.names), layout
    except CheckpointError as error:
        raise CheckpointError(f"{source.place}: {error}") from error


def our_shapes(header: WeightHeader, layout: KeyMap) -> Shapes:
    """The shapes of our tensors, from a header alone; tensors that are there in part are left out."""
    shapes = {name: info.shape for name, info in header.tensors.items()}
    origins = layout.plan(shapes).origins
    return {
        name: gathered_shape(shapes, origin)
        for name, origin in origins.items()
        if all(part in shapes for part in origin.parts)
    }


def load(
    network: Callable[[Any], M], config: Any, layout: KeyMap, source: WeightSource, *, dtype: torch.dtype,
    device: torch.device | str,
) -> M:
    """Build ``network(config)`` without memory and give it the tensors of ``source``."""
    start = time.perf_counter()
    with torch.device("meta"):
        model = network(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors = read_tensors(source.files)
    plan = check_names(layout, tensors, expected, source.place)
    state = {name: converted(gather(tensors, origin), dtype, device) for name, origin in plan.origins.items()}
    check_shapes(state, expected, source.place)
    model.load_state_dict(state, strict=True, assign=True)
    model.eval().requires_grad_(False)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    seconds = time.perf_counter() - start
    logger.info("loaded %s: %.1fM parameters in %s in %.2f s", source.place.name, millions, dtype, seconds)
    return model


def expected_shapes(config: LinearDiTConfig | DCAutoencoderConfig) -> Shapes:
    """The shapes of a network's tensors, without making them."""
    with torch.device("meta"):
        model = LinearDiT(config) if isinstance(config, LinearDiTConfig) else DCAutoencoder(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def converted(tensor: Tensor, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Counters keep their integer dtype; a tensor that is right already stays mapped from its file."""
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)


def check_names(layout: KeyMap, found: Collection[str], expected: Collection[str], where: Path) -> Plan:
    """What a file's names mean; refuses one with missing or unknown tensors, in one sentence."""
    plan = layout.plan(found)
    wanted = set(expected)
    strangers = (*plan.unknown, *(part for name in plan.origins.keys() - wanted for part in plan.origins[name].parts))
    missing = (*plan.missing, *(part for name in wanted - plan.origins.keys() for part in layout.names_for(name)))
    complaints = []
    if missing:
        complaints.append(f"{len(missing)} of {len(wanted)} expected tensors are missing ({some(missing)})")
    if strangers:
        complaints.append(f"{len(strangers)} tensors belong to no such network ({some(strangers)})")
    if complaints:
        raise CheckpointError(
            f"{where} does not hold the whole network that it should (in the {layout.layout} layout): "
            f"{' and '.join(complaints)}; {diagnose(list(found), missing, strangers)}"
        )
    return plan


def check_shapes(state: Mapping[str, Tensor], expected: Shapes, where: Path) -> None:
    wrong = [name for name, shape in expected.items() if tuple(state[name].shape) != shape]
    if wrong:
        first = wrong[0]
        raise CheckpointError(
            f"{where} holds {len(wrong)} tensors of another shape than its config says, such as {first}: it is "
            f"{tuple(state[first].shape)} and should be {tuple(expected[first])}; is the config.json another model's?"
        )


def some(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(sorted(names)[:count]) + (", ..." if len(names) > count else "")


def diagnose(found: Sequence[str], missing: Sequence[str], strangers: Sequence[str]) -> str:
    """The likeliest reason, for someone who has the file and not this code."""
    if any("norm_q" in name or "q_norm" in name for name in strangers):
        return "it has query and key norms, as SANA-1.5 has, and its config says that it has none"
    if any("norm_q" in name or "q_norm" in name for name in missing):
        return "it lacks query and key norms, as SANA 1.0 does, and its config says that it has them"
    if any("guidance" in name or "cfg_embedder" in name for name in (*missing, *strangers)):
        return "one of file and config is of SANA-Sprint and the other is not"
    if missing and not strangers:
        return "the file is a part of a model, or its config.json is of a deeper one"
    return looks_like(found)
