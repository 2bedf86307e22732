"""Blocks of plain layers as one kernel sees them: where their weights lie, found once for all steps."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor, nn

from sanakit.kernels import dit_block
from sanakit.layers.cross_attention import AttendedText, CrossAttention
from sanakit.layers.linear import Linear
from sanakit.layers.linear_attention import LinearAttention
from sanakit.layers.mix_ffn import MixFFN
from sanakit.layers.norms import RMSNorm
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.prompted import PromptedBlock


class PlainBlock(PromptedBlock):
    """A block that attends to its tokens and to the text, with a Mix-FFN."""

    scale_shift_table: nn.Parameter
    attention: LinearAttention
    mix_ffn: MixFFN


def at_once(
    blocks: Sequence[nn.Module], x: Tensor, modulation: Tensor, condition: Condition, size: tuple[int, int]
) -> Tensor | None:
    """What blocks, one after the other, make of tokens ``(B, N, C)`` layer by layer, to the bit, in one kernel, where
    that is here and takes such layers and texts; else None."""
    if not dit_block.pays(x) or condition.perturbed or condition.controls:
        return None
    texts = [_plain_text(condition.text_of(index)) for index in range(len(blocks))]
    told = [text for text in texts if text is not None]
    if len(told) < len(texts) or not dit_block.fits(x, modulation, told, size):
        return None
    found = [(_bound_weights(block), text) for block, text in zip(blocks, told, strict=True)]
    bound = [(weights, text) for weights, text in found if weights is not None and dit_block.takes_text(weights, text)]
    return dit_block.dit_blocks(x, modulation, bound, size) if len(bound) == len(blocks) else None


class _Bound:
    """The weights of a block, and whether they are still those; it keeps none of them in memory, and a layer that was
    exchanged until the next call."""

    def __init__(self, block: nn.Module) -> None:
        inside = list(block.modules())
        self._layers = [
            (part._modules, name, weakref.ref(x))
            for part in inside
            for name, x in part._modules.items()
            if x is not None
        ]
        named = [
            (part._parameters, name, x) for part in inside for name, x in part._parameters.items() if x is not None
        ]
        self._weights = [(kept, name, weakref.ref(x), x.data_ptr(), x.requires_grad) for kept, name, x in named]
        self._hooks = [hooks for part in inside for hooks in (part._forward_hooks, part._forward_pre_hooks)]
        self._named = [vars(part) for part in inside]
        self._watched = self._is_watched()
        weights = None if self._watched else _weights_of(block)
        self.weights = None if weights is None else dit_block.bind(weights)

    def holds(self) -> bool:
        """Whether every layer and weight is the one that it was, where it was, and as many look at them."""
        if self._is_watched() != self._watched or any(kept.get(name) is not ref() for kept, name, ref in self._layers):
            return False
        for kept, name, ref, at, learns in self._weights:
            x = kept.get(name)
            if x is None or x is not ref() or x.data_ptr() != at or x.requires_grad != learns:
                return False
        return True

    def _is_watched(self) -> bool:
        """Whether somebody hangs in a layer, or put another ``forward`` in the place of its own."""
        return any(self._hooks) or any("forward" in named for named in self._named)


_BOUND: weakref.WeakKeyDictionary[nn.Module, _Bound] = weakref.WeakKeyDictionary()


def _bound_weights(block: nn.Module) -> dit_block.BoundWeights | None:
    """Those of a block, or None where a layer is of another class (fewer bits), is watched, has something beside it
    (adapters) or is to learn, and where the kernel takes no such sizes."""
    bound = _BOUND.get(block)
    if bound is None or not bound.holds():
        bound = _BOUND[block] = _Bound(block)
    return bound.weights


def _plain_text(text: AttendedText) -> dit_block.Text | None:
    """What is seen of texts, or None where projections are multiplied into keys and values of a longer one."""
    if any(each is not None and each.keys is not None for each in text.folded):
        return None
    return dit_block.Text(
        text.keys, text.values, text.mask, [None if each is None else each.values for each in text.folded]
    )


def _weights_of(block: nn.Module) -> dit_block.BlockWeights | None:
    if not isinstance(block, PlainBlock):
        return None
    attention, cross_attention, mix_ffn = block.attention, block.cross_attention, block.mix_ffn
    layers = (attention.qkv, attention.out, cross_attention.q, cross_attention.out, mix_ffn.expand, mix_ffn.project)
    norms = (attention.norm_q, attention.norm_k, cross_attention.norm_q)
    kinds = [
        (attention, LinearAttention),
        (cross_attention, CrossAttention),
        (mix_ffn, MixFFN),
        (mix_ffn.depthwise, nn.Conv2d),
    ]
    kinds += [(layer, Linear) for layer in layers]
    kinds += [(norm, RMSNorm if isinstance(attention.norm_q, RMSNorm) else nn.Identity) for norm in norms]
    if any(type(part) is not kind for part, kind in kinds) or len({getattr(norm, "eps", 0.0) for norm in norms}) > 1:
        return None
    depthwise = dit_block.Projection(mix_ffn.depthwise.weight, mix_ffn.depthwise.bias)
    projections = [dit_block.Projection(layer.weight, layer.bias) for layer in layers]
    return dit_block.BlockWeights(
        table=block.scale_shift_table,
        norms=tuple(norm.weight for norm in norms if isinstance(norm, RMSNorm)),
        projections=(*projections[:5], depthwise, projections[5]),
        heads=(attention.head_dim, cross_attention.head_dim),
        attention_eps=attention.eps,
        norm_eps=getattr(norms[0], "eps", 0.0),
    )
