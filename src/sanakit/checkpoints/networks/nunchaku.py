"""A SANA transformer in nunchaku's file of svdquant: its names, its filled-up sizes, the order of its rows and bits.

Known from what is public, nunchaku's ``SanaModel`` and kernels and deepcompressor's converter: names; widths filled up
to 128 channels, the inside of the Mix-FFN to 64; rows of the linear attention as all queries, then 32 keys and 32
values of each head in turn; values and gates of the Mix-FFN in turn; the order of numbers within a tile. Not known, as
no converter of SANA's is public: the axes of depth-wise weights, written as ``(C, 3, 3, 1)`` as the kernel has them and
read in either order. The bias of the linear attention's output is written, and nunchaku ignores it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.checkpoints.files.reader import WeightHeader, info_of, parse_json
from sanakit.checkpoints.files.stored import Listed, Made, StoredTensors
from sanakit.checkpoints.networks.kind import QUANTIZATION, NetworkState
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.common.errors import CheckpointError
from sanakit.kernels.int4_linear.reference import pack_nibbles, unpack_nibbles
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.quantization.quantize import Quantization
from sanakit.quantization.schemes import SVDQuant

CONFIG = "config"
"""Of a file's metadata."""
GROUP = 64
_HEAD = 32
_QUANTIZED = {
    "attention.qkv": "attn.qkv_proj", "attention.out": "attn.out_proj",
    "cross_attention.q": "cross_attn.q_linear", "cross_attention.out": "cross_attn.out_proj",
    "mix_ffn.expand": "ff.inverted_conv", "mix_ffn.project": "ff.point_conv",
}  # fmt: skip
_PLAIN = {"cross_attention.kv": "cross_attn.kv_linear", "mix_ffn.depthwise": "ff.depth_conv"}
_LEAVES = {
    "weight": "qweight", "weight_scale": "wscales", "smooth": "smooth", "low_rank_down": "lora_down",
    "low_rank_up": "lora_up", "bias": "bias",
}  # fmt: skip
_METHOD = json.dumps({
    "method": "svdquant", "weight": {"dtype": "int4", "group_size": GROUP}, "activation": {"dtype": "int4"},
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Order:
    """An order of numbers in memory: a tensor seen in so many axes, and these axes in another order."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def apply(self, x: Tensor) -> Tensor:
        return x.reshape(self.shape).permute(self.axes).flatten()

    def undo(self, x: Tensor) -> Tensor:
        seen = x.reshape([self.shape[axis] for axis in self.axes])
        return seen.permute([self.axes.index(axis) for axis in range(len(self.axes))]).flatten()


def _order_of(leaf: str, rows: int, columns: int) -> _Order:
    """Of a filled-up tensor ``(rows, columns)``, as the lanes of a tensor core load it."""
    match leaf:
        case "weight":
            return _Order((rows // 128, 8, 2, 8, columns // 64, 2, 4, 8), (0, 4, 1, 3, 6, 2, 5, 7))
        case "low_rank_down":
            return _Order((rows // 16, 2, 8, columns // 16, 2, 4, 2), (3, 0, 2, 5, 1, 4, 6))
        case "low_rank_up":
            return _Order((rows // 16, 2, 8, columns // 16, 2, 4, 2), (0, 3, 2, 5, 1, 4, 6))
        case _:  # scales ``(rows, groups)``, smoothing and bias ``(rows, 1)``
            return _Order((rows // 128, 8, 2, 4, 2, columns), (0, 5, 1, 3, 2, 4))


def to_nunchaku(network: NetworkState[LinearDiTConfig, LinearDiT]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a transformer in svdquant under nunchaku's names, and the metadata that it reads.

    Raises:
        CheckpointError: it is in another scheme, or has sizes or norms that nunchaku's kernels do not know.
    """
    config = network.config
    _check(config, network.quantization)
    tensors: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    for name, tensor in network.tensors.items():
        if (place := _place(name)) is None:
            others[name] = tensor
            continue
        _, layer, leaf = place
        rows = _rows(layer, config)
        if layer in _QUANTIZED:
            tensors[_their_name(*place)] = _packed(leaf, tensor, rows)
        else:
            filled = _taken(tensor, rows)
            tensors[_their_name(*place)] = filled.permute(0, 2, 3, 1) if filled.ndim == 4 else filled
    tensors |= LINEAR_DIT.layouts(config)["diffusers"].from_ours(others)
    metadata = {CONFIG: json.dumps(LINEAR_DIT.to_json(config)), QUANTIZATION: _METHOD}
    return tensors, metadata | {"model_class": "NunchakuSanaTransformer2DModel"}


def as_ours(header: WeightHeader) -> WeightHeader:
    """The header of a file of nunchaku as that of one of ours, whose tensors are put in order as they are read; of any
    other file as it is.

    Raises:
        CheckpointError: it is in the four-bit floats of newer GPUs, or does not say of which sizes it is.
    """
    mark = "transformer_blocks.0.attn.qkv_proj.qweight"
    if mark not in header.stored:
        return header
    if any(name.endswith((".wtscale", ".wcscales")) for name in header.stored):
        raise CheckpointError(f"{header.place} is in nunchaku's FP4, which is not read; take its INT4 file")
    if CONFIG not in header.metadata:
        raise CheckpointError(
            f"{header.place} is a file of nunchaku without the config in its metadata; fetch a newer one"
        )
    plain = parse_json(header.metadata[CONFIG], f"the config inside {header.place}")
    config = LINEAR_DIT.from_json(plain)
    down = header.tensors.get(mark.replace("qweight", "lora_down"))
    rank = down.shape[-1] if down is not None and down.shape else 1
    layers = [f"blocks.{block}.{layer}" for block in range(config.num_layers) for layer in _QUANTIZED]
    quantization = Quantization(layers=dict.fromkeys(layers, SVDQuant(group_size=GROUP, rank=rank)))
    _check(config, quantization)
    expected = LINEAR_DIT.empty(config, quantization).state_dict()
    if lacks := sorted({_source(name, config) for name in expected} - header.stored.keys() - _optional(config)):
        raise CheckpointError(
            f"{header.place} lacks {len(lacks)} tensors that nunchaku's file of such a transformer has, such as "
            f"{lacks[0]}; it is a part of one, or its config is another's"
        )
    layout, theirs = LINEAR_DIT.layouts(config)["diffusers"].whole, StoredTensors(header.stored)
    stored: dict[str, Listed] = {
        layout.find_ours(name)[1][0]: Made(
            tuple(tensor.shape), _dtype(name, tensor, header), partial(_unpacked, name, tensor, theirs, config)
        )
        for name, tensor in expected.items()
    }
    metadata = header.metadata | {CONFIG: json.dumps(plain | {QUANTIZATION: quantization.to_json()})}
    return replace(
        header, stored=stored, metadata=metadata, tensors={name: info_of(each) for name, each in stored.items()}
    )


def _check(config: LinearDiTConfig, quantization: Quantization) -> None:
    wanted = {f"blocks.{block}.{layer}" for block in range(config.num_layers) for layer in _QUANTIZED}
    fits = all(isinstance(each, SVDQuant) and each.group_size == GROUP for each in quantization.layers.values())
    if quantization.layers.keys() != wanted or not fits:
        raise CheckpointError(
            f"nunchaku's file is of svdquant in groups of {GROUP}, in all blocks, and this transformer is in "
            f"{quantization.name or 'plain weights'}; sanakit quantize makes it so"
        )
    if config.qk_norm or config.head_dim != _HEAD:
        raise CheckpointError(
            "nunchaku's kernels know heads of 32 channels without query and key norms, so not this one"
        )


def _place(name: str) -> tuple[str, str, str] | None:
    """Block, layer and leaf of a tensor that nunchaku keeps in its own way."""
    found = re.fullmatch(r"blocks\.(\d+)\.(\w+\.\w+)\.(\w+)", name)
    return (found[1], found[2], found[3]) if found and (found[2] in _QUANTIZED or found[2] in _PLAIN) else None


def _their_name(block: str, layer: str, leaf: str) -> str:
    leaf = leaf if layer in _PLAIN else _LEAVES[leaf]
    return f"transformer_blocks.{block}.{_PLAIN.get(layer) or _QUANTIZED[layer]}.{leaf}"


def _source(name: str, config: LinearDiTConfig) -> str:
    """Where one of our tensors lies in their file."""
    place = _place(name)
    return _their_name(*place) if place else LINEAR_DIT.layouts(config)["diffusers"].find_ours(name)[1][0]


def _optional(config: LinearDiTConfig) -> set[str]:
    return {_their_name(str(block), "attention.out", "bias") for block in range(config.num_layers)}


@lru_cache(maxsize=16)
def _rows(layer: str, config: LinearDiTConfig) -> Tensor:
    """Which of our rows each of theirs is; -1 of what fills up."""
    size, inner = config.hidden_size, config.inner_size
    match layer:
        case "attention.qkv":
            q, k, v = (_filled_up(torch.arange(size) + part * size, 128) for part in range(3))
            return torch.cat([q, torch.stack([k.view(-1, _HEAD), v.view(-1, _HEAD)], dim=1).flatten()])
        case "mix_ffn.expand" | "mix_ffn.depthwise":
            value, gate = (_filled_up(torch.arange(inner) + part * inner, GROUP) for part in range(2))
            return torch.stack([value, gate], dim=1).flatten()
        case "cross_attention.kv":
            return torch.arange(2 * size)
        case _:
            return _filled_up(torch.arange(size), 128)


def _filled_up(x: Tensor, multiple: int, value: int = -1) -> Tensor:
    """Along the last axis."""
    return F.pad(x, (0, -x.shape[-1] % multiple), value=value)


def _taken(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of ours as theirs; zeros where they fill up."""
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])[rows]


def _given(x: Tensor, rows: Tensor, count: int) -> Tensor:
    """Rows of theirs as ours, of which there are so many."""
    ours = x.new_empty(count, *x.shape[1:])
    ours[rows[rows >= 0]] = x[rows >= 0]
    return ours


def _packed(leaf: str, ours: Tensor, rows: Tensor) -> Tensor:
    match leaf:
        case "weight":
            signed = (unpack_nibbles(ours) + 8) & 15  # from levels counted from -8 to the bits of whole numbers
            filled = _filled_up(_taken(signed, rows), 128, 0)
            ordered = _order_of(leaf, *filled.shape).apply(filled)
            return pack_nibbles(ordered[None]).view(torch.int8).view(len(rows), -1)
        case "weight_scale":
            filled = _filled_up(_taken(ours, rows), 2, 0)
            return _order_of(leaf, *filled.shape).apply(filled).view(-1, len(rows))
        case "low_rank_down":
            filled = _filled_up(_filled_up(ours, 128, 0).mT, 16, 0).mT
            return _order_of(leaf, *filled.shape).apply(filled).view(filled.shape[1], -1)
        case "low_rank_up":
            filled = _filled_up(_taken(ours, rows), 16, 0)
            return _order_of(leaf, *filled.shape).apply(filled).view(filled.shape)
        case _:
            filled = _filled_up(ours, 128, 1) if leaf == "smooth" else _taken(ours, rows)
            return _order_of(leaf, len(filled), 1).apply(filled)


def _unpacked(name: str, like: Tensor, theirs: Mapping[str, Tensor], config: LinearDiTConfig) -> Tensor:
    """One of our tensors, of the shape of ``like`` and, of a quantized layer's, its dtype."""
    their_name = _source(name, config)
    if (place := _place(name)) is None:
        return theirs[their_name]
    _, layer, leaf = place
    rows = _rows(layer, config)
    if layer in _PLAIN:
        x = theirs[their_name]
        return _given(x.permute(0, 3, 1, 2) if x.ndim == 4 and x.shape[-1] == 1 else x, rows, len(like))
    if leaf == "bias" and their_name not in theirs:
        return torch.zeros(like.shape, dtype=theirs[their_name.replace("bias", "smooth")].dtype)
    x = theirs[their_name]
    match leaf:
        case "weight":
            bits = _order_of(leaf, len(rows), 2 * x.shape[1]).undo(unpack_nibbles(x.view(torch.uint8).reshape(1, -1)))
            codes = _given((bits.view(len(rows), -1) + 8) & 15, rows, len(like))
            return pack_nibbles(codes[:, : 2 * like.shape[1]])
        case "weight_scale":
            scales = _order_of(leaf, len(rows), x.shape[0]).undo(x).view(len(rows), -1)
            return _given(scales, rows, len(like))[:, : like.shape[1]].to(like.dtype)
        case "low_rank_down":
            return _order_of(leaf, *x.T.shape).undo(x).view(x.T.shape)[: len(like), : like.shape[1]].to(like.dtype)
        case "low_rank_up":
            return _given(_order_of(leaf, *x.shape).undo(x).view(x.shape), rows, len(like)).to(like.dtype)
        case "smooth":
            return _order_of(leaf, len(x), 1).undo(x)[: len(like)].to(like.dtype)
        case _:
            return _given(_order_of(leaf, len(x), 1).undo(x), rows, len(like))


def _dtype(name: str, like: Tensor, header: WeightHeader) -> str:
    """What ``_unpacked`` makes; CheckpointError where the file lacks it."""
    place = _place(name)
    if place is not None and place[1] in _QUANTIZED and place[2] != "bias":
        return str(like.dtype).removeprefix("torch.")
    return header.tensors["transformer_blocks.0.attn.qkv_proj.smooth"].dtype
