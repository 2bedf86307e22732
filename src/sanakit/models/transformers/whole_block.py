"""A block of plain layers as one kernel sees it: where its weights lie, found once for all steps."""

from __future__ import annotations

import weakref

from torch import Tensor, nn

from sanakit.kernels.dit_block import BlockWeights, BoundWeights, Projection, Text, bind, dit_block, fits, pays
from sanakit.layers.cross_attention import AttendedText, CrossAttention
from sanakit.layers.linear import Linear
from sanakit.layers.linear_attention import LinearAttention
from sanakit.layers.mix_ffn import MixFFN
from sanakit.layers.norms import RMSNorm
from sanakit.models.transformers.prompted import PromptedBlock


class WholeBlock(PromptedBlock):
    """A block that attends to its tokens and to the text, with a Mix-FFN, which one kernel may compute."""

    scale_shift_table: nn.Parameter
    attention: LinearAttention
    mix_ffn: MixFFN

    def at_once(self, x: Tensor, modulation: Tensor, text: AttendedText, size: tuple[int, int]) -> Tensor | None:
        """What ``forward`` computes layer by layer, to the bit, where the kernel is here and takes such layers and
        texts; else None."""
        if not pays(x) or (told := plain_text(text)) is None or not fits(x, modulation, told, size):
            return None
        weights = bound_weights(self)
        return None if weights is None else dit_block(x, modulation, weights, told, size)


class _Bound:
    """The weights of a block, and whether they are still those; it keeps none of them in memory."""

    def __init__(self, block: WholeBlock) -> None:
        inside = list(block.modules())
        tables = [table for part in inside for table in (part._modules, part._parameters)]
        self._held = [(table, name, weakref.ref(x)) for table in tables for name, x in table.items() if x is not None]
        self._parameters = [(weakref.ref(x), x.data_ptr(), x.requires_grad) for x in block.parameters()]
        self._hooks = [hooks for part in inside[1:] for hooks in (part._forward_hooks, part._forward_pre_hooks)]
        self._watched = any(self._hooks)
        weights = None if self._watched else _weights_of(block)
        self.weights = None if weights is None else bind(weights)

    def holds(self) -> bool:
        """Whether every layer and weight is the one that it was, where it was, and as many look at them."""
        if any(table.get(name) is not kept() for table, name, kept in self._held) or any(self._hooks) != self._watched:
            return False
        now = ((kept(), at, learns) for kept, at, learns in self._parameters)
        return all(x is not None and (x.data_ptr(), x.requires_grad) == (at, learns) for x, at, learns in now)


_BOUND: weakref.WeakKeyDictionary[nn.Module, _Bound] = weakref.WeakKeyDictionary()


def bound_weights(block: WholeBlock) -> BoundWeights | None:
    """Those of a block, or None where a layer is of another class (fewer bits), is watched, has something beside it
    (adapters) or is to learn, and where the kernel takes no such sizes."""
    bound = _BOUND.get(block)
    if bound is None or not bound.holds():
        bound = _BOUND[block] = _Bound(block)
    return bound.weights


def plain_text(text: AttendedText) -> Text | None:
    """What is seen of texts, or None where projections are multiplied into keys and values of a longer one."""
    if any(each is not None and each.keys is not None for each in text.folded):
        return None
    return Text(text.keys, text.values, text.mask, [None if each is None else each.values for each in text.folded])


def _weights_of(block: WholeBlock) -> BlockWeights | None:
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
    depthwise = Projection(mix_ffn.depthwise.weight, mix_ffn.depthwise.bias)
    projections = [Projection(layer.weight, layer.bias) for layer in layers]
    return BlockWeights(
        table=block.scale_shift_table,
        norms=tuple(norm.weight for norm in norms if isinstance(norm, RMSNorm)),
        projections=(*projections[:5], depthwise, projections[5]),
        heads=(attention.head_dim, cross_attention.head_dim),
        attention_eps=attention.eps,
        norm_eps=getattr(norms[0], "eps", 0.0),
    )
