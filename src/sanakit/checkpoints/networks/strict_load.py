"""A network from a component's files: built without memory, then given the file's tensors, every one of them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sanakit.checkpoints.files.reader import WeightHeader, read_header, read_tensors
from sanakit.checkpoints.networks.dc_ae_keys import find_dc_ae_layout
from sanakit.checkpoints.networks.diffusers_config import dc_ae_from_json, linear_dit_from_json
from sanakit.checkpoints.networks.infer_config import Shapes, infer_dc_ae_config, infer_linear_dit_config, looks_like
from sanakit.checkpoints.networks.key_maps import KeyMap, Origin, Plan, gather, gathered_shape
from sanakit.checkpoints.networks.linear_dit_keys import find_linear_dit_layout
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

BLOCK_NAME = re.compile(r"blocks\.\d+\.|(encoder|decoder)\.stages\.\d+\.\d+\.(?!conv\.)")
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

    @property
    def config_place(self) -> Path:
        """The file that the config was read from."""
        beside = self.files[0].with_name("config.json")
        return beside if self.config is not None and beside.is_file() else self.place


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
    check_dtypes(header, layout, source.place)
    try:
        config = linear_dit_config(source, header, layout)
    except (CheckpointError, ConfigError) as error:
        remark = "" if source.config is not None else f"; {looks_like(header.tensors)}"
        raise CheckpointError(f"{source.config_place}: {error}{remark}") from error
    check_depth(config.num_layers, header, layout, source)
    return config, layout


def linear_dit_config(source: WeightSource, header: WeightHeader, layout: KeyMap) -> LinearDiTConfig:
    if source.config is not None:
        return linear_dit_from_json(source.config)
    position = header.tensors.get("pos_embed") or header.tensors.get("patch_embed.pos_embed")
    stored = position.shape if position and len(position.shape) == 3 else None
    return infer_linear_dit_config(our_shapes(header, layout), names=source.names, position_shape=stored)


def identify_dc_ae(source: WeightSource, header: WeightHeader) -> tuple[DCAutoencoderConfig, KeyMap]:
    """Config and layout of an autoencoder, from its header and the config beside it."""
    layout = find_dc_ae_layout(header.tensors)
    if layout is None:
        raise CheckpointError(f"{source.place} is not a DC-AE autoencoder: {looks_like(header.tensors)}")
    check_dtypes(header, layout, source.place)
    try:
        if source.config is None:
            return infer_dc_ae_config(our_shapes(header, layout), names=source.names), layout
        config = dc_ae_from_json(source.config)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{source.config_place}: {error}") from error
    check_depth(sum(stage.num_blocks for stage in (*config.encoder, *config.decoder)), header, layout, source)
    return config, layout


def check_dtypes(header: WeightHeader, layout: KeyMap, where: Path) -> None:
    """Weights are floating-point numbers; those of a quantized model need more than a conversion."""
    for name, origin in layout.plan(header.tensors).origins.items():
        dtype = header.tensors[origin.parts[0]].dtype if origin.parts[0] in header.tensors else "float32"
        if not name.endswith("num_batches_tracked") and not dtype.startswith(("float", "bfloat")):
            raise CheckpointError(
                f"{where} holds {dtype} weights, such as {origin.parts[0]}; sanakit reads floating-point ones, so a "
                f"quantized model must be turned back into those first"
            )


def check_depth(num_blocks: int, header: WeightHeader, layout: KeyMap, source: WeightSource) -> None:
    """Refuse a config that asks for more blocks than there are, before a network of any depth is built."""
    matches = (BLOCK_NAME.match(name) for name in layout.plan(header.tensors).origins)
    found = len({match[0] for match in matches if match})
    if num_blocks > found:
        raise CheckpointError(
            f"{source.config_place} asks for {num_blocks} blocks and {source.place.name} holds {found}: the weights "
            f"are a part of a model, or the config is of a deeper one"
        )


def our_shapes(header: WeightHeader, layout: KeyMap) -> Shapes:
    """The shapes of our tensors, from a header alone; tensors that are there in part are left out."""
    shapes = {name: info.shape for name, info in header.tensors.items()}
    origins = layout.plan(shapes).origins
    whole = {name: origin for name, origin in origins.items() if all(part in shapes for part in origin.parts)}
    try:
        return {name: gathered_shape(shapes, origin) for name, origin in whole.items()}
    except IndexError:
        raise CheckpointError("it is damaged: a projection is stored as a single number") from None


def load(
    network: Callable[[Any], M],
    config: Any,
    layout: KeyMap,
    source: WeightSource,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> M:
    """Build ``network(config)`` without memory and give it the tensors of ``source``."""
    start = time.perf_counter()
    with torch.device("meta"):
        model = network(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors = read_tensors(source.files)
    plan = check_names(layout, tensors, expected, source.place)
    state = {
        name: converted(assembled(tensors, origin, source.place), dtype, device)
        for name, origin in plan.origins.items()
    }
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


def assembled(tensors: Mapping[str, Tensor], origin: Origin, where: Path) -> Tensor:
    try:
        return gather(tensors, origin)
    except (RuntimeError, IndexError) as error:
        raise CheckpointError(f"{where} is damaged: {', '.join(origin.parts)} do not fit together") from error


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
    norms = [name for name in found if is_norm(name)]
    if strangers and all(map(is_norm, strangers)):
        return "it has query and key norms, as SANA-1.5 has, and its config says that it has none"
    if missing and all(map(is_norm, missing)) and not norms:
        return "it lacks query and key norms, as SANA 1.0 does, and its config says that it has them"
    if any("guidance" in name or "cfg_embedder" in name for name in (*missing, *strangers)):
        return "one of file and config is of SANA-Sprint and the other is not"
    if missing and not strangers:
        return "the file is a part of a model, or its config.json is of a deeper one"
    if strangers and not missing and all("blocks." in name for name in strangers):
        return "its config is of a shallower model"
    return looks_like(found)


def is_norm(name: str) -> bool:
    return "norm_q" in name or "norm_k" in name or "q_norm" in name or "k_norm" in name
