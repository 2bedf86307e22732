"""All layers of blocks in one call of the native library, to the bits of one call each."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import NamedTuple

import torch
from torch import Tensor

from sanakit.kernels.linear.native import MIN_TOKENS
from sanakit.kernels.modulated_norm.reference import EPS
from sanakit.kernels.native.library import MULTIPLE, Tokens, address, native_library, num_threads, side_by_side, takes

LARGEST = 2**19
"""Values of the tokens. The time between the layers of larger pictures is nothing beside theirs, and what they work in
is freed layer by layer."""


class Projection(NamedTuple):
    """Weight and bias of a layer."""

    weight: Tensor
    bias: Tensor | None


class BlockWeights(NamedTuple):
    """What a block has learnt, with ``C`` channels and ``M`` of them behind the gate of its Mix-FFN.

    Attributes:
        table: ``(6, C)``, added to the modulation: shift, scale and gate of self-attention, and of the Mix-FFN.
        norms: of queries and keys of self-attention, and of queries of cross-attention, ``(C,)`` each; ``()`` for none.
        projections: ``qkv``, ``out``, ``query``, ``text_out``, ``expand``, ``depthwise`` and ``project``.
        heads: channels of a head of self-attention, and of cross-attention.
        attention_eps, norm_eps: of the linear attention's normaliser, and of the norms.
    """

    table: Tensor
    norms: tuple[Tensor, ...]
    projections: tuple[Projection, ...]
    heads: tuple[int, int]
    attention_eps: float
    norm_eps: float


class Text(NamedTuple):
    """What a block sees of the texts: keys and values ``(B, heads, L, D)``, the mask ``(B, 1, 1, L)`` of what is seen,
    and of every row, where it is the same for all tokens, what comes of it, ``(1, C)``; ``()`` where none has that."""

    keys: Tensor
    values: Tensor
    mask: Tensor
    same: Sequence[Tensor | None] = ()

    def fits(self, rows: int, channels: int) -> bool:
        """Whether it is one of so many pictures and channels, and has tokens."""
        batch, heads, length, size = self.keys.shape
        if (batch, heads * size) != (rows, channels) or not length or self.values.shape != self.keys.shape:
            return False
        alone = all(each is None or each.shape == (1, channels) for each in self.same)
        return alone and self.mask.shape == (rows, 1, 1, length) and len(self.same) in (0, rows)


class _Projection(ctypes.Structure):
    """``struct Projection`` of ``native/source/sanakit.h``."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class BoundWeights(ctypes.Structure):
    """``struct BlockWeights`` of the same: where weights lie, which somebody else keeps there."""

    _fields_ = (
        *((name, c_void_p) for name in ("table", "norm_q", "norm_k", "norm_text")),
        *((name, _Projection) for name in ("qkv", "out", "query", "text_out", "expand", "depthwise", "project")),
        *((name, c_int64) for name in ("channels", "inner", "head", "text_head")),
        *((name, c_float) for name in ("attention_eps", "norm_eps", "layer_eps")),
    )


class _Arguments(ctypes.Structure):
    """``struct DitBlock`` of the same."""

    _fields_ = (
        ("weights", ctypes.POINTER(BoundWeights)),
        *((name, c_void_p) for name in ("x", "modulation", "seen", "same", "y")),
        *((name, Tokens) for name in ("keys", "values")),
        *((name, c_int64) for name in ("batch", "height", "width", "length")),
        ("threads", c_int32),
    )


class _Several(ctypes.Structure):
    """``struct DitBlocks`` of the same."""

    _fields_ = (("blocks", ctypes.POINTER(_Arguments)), ("count", c_int64))


def bind(weights: BlockWeights) -> BoundWeights | None:
    """Where they lie, if each of the kernels takes them: float32 on the CPU, frozen, whole vectors of channels."""
    parts = [part for layer in weights.projections for part in layer if part is not None]
    parts += [weights.table, *weights.norms]
    channels, inner = weights.table.shape[1], weights.projections[-1].weight.shape[1]
    if not takes(*parts) or any(each.requires_grad or not each.is_contiguous() for each in parts):
        return None
    if any(each % MULTIPLE for each in (channels, inner, *weights.heads)) or not _belong_together(weights):
        return None
    return BoundWeights(
        *map(address, (weights.table, *(weights.norms or (None,) * 3))),
        *(_Projection(*map(address, layer)) for layer in weights.projections),
        *(channels, inner, *weights.heads),
        *(weights.attention_eps, weights.norm_eps, EPS),
    )


def _belong_together(weights: BlockWeights) -> bool:
    """Whether every shape follows from the table's and the last projection's."""
    channels, inner = weights.table.shape[1], weights.projections[-1].weight.shape[1]
    square, depthwise = (channels, channels), (2 * inner, 1, 3, 3)
    shapes = ((3 * channels, channels), square, square, square, (2 * inner, channels), depthwise, (channels, inner))
    for layer, shape in zip(weights.projections, shapes, strict=True):
        if layer.weight.shape != shape or (layer.bias is not None and layer.bias.shape != shape[:1]):
            return False
    normed = len(weights.norms) in (0, 3) and all(norm.shape == (channels,) for norm in weights.norms)
    return normed and weights.table.shape[0] == 6 and weights.projections[5].bias is not None


def pays(x: Tensor) -> bool:
    """Whether to ask at all: a small picture on the CPU, without gradients, that nothing but computes."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or x.device.type != "cpu":
        return False
    return x.numel() <= LARGEST and x.shape[1] >= MIN_TOKENS


def fits(x: Tensor, modulation: Tensor, texts: Sequence[Text], size: tuple[int, int]) -> bool:
    """Whether the native library is here and takes these, in float32 on the CPU; what does not even belong together is
    left to the layers, which say so."""
    same = [each for text in texts for each in text.same if each is not None]
    parts = [part for text in texts for part in (text.keys, text.values)]
    if not takes(x, modulation, *parts, *same) or any(text.mask.dtype != torch.bool for text in texts):
        return False
    if x.shape[1] != math.prod(size) or modulation.shape != (len(x), 6, x.shape[2]):
        return False
    return all(text.fits(len(x), x.shape[2]) for text in texts)


def takes_text(weights: BoundWeights, text: Text) -> bool:
    """Whether keys are of the block's channels and heads."""
    return bool(weights.channels == text.keys.shape[1] * weights.text_head and weights.text_head == text.keys.shape[3])


def dit_blocks(
    x: Tensor, modulation: Tensor, blocks: Sequence[tuple[BoundWeights, Text]], size: tuple[int, int]
) -> Tensor:
    """Tokens ``(B, N, C)`` of pictures of ``size``, height and width, and ``modulation (B, 6, C)`` to ``(B, N, C)``."""
    library = native_library()
    assert library is not None
    x, y, modulation = x.contiguous(), x.new_empty(x.shape), modulation.contiguous()
    held: list[object] = []  # what is made for the call, and lives as long
    arguments: list[_Arguments] = []
    for weights, text in blocks:
        source = x if not arguments else y
        keys, values = (side_by_side(part.transpose(1, 2)) for part in (text.keys, text.values))  # (B, L, heads, D)
        seen, same = text.mask[:, 0, 0].contiguous(), (c_void_p * len(x))(*map(address, text.same or (None,) * len(x)))
        held += [keys, values, seen, same]
        places = (address(source), address(modulation), seen.data_ptr(), ctypes.addressof(same), address(y))
        sizes, threads = (len(x), *size, keys.shape[1]), num_threads(2.0 * weights.inner * x.numel())
        arguments.append(_Arguments(ctypes.pointer(weights), *places, *map(Tokens.of, (keys, values)), *sizes, threads))
    library.call("dit_blocks", _Several((_Arguments * len(arguments))(*arguments), len(arguments)))
    return y
