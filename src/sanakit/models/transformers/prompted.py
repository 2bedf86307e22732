"""What networks have in common whose text enters through the cross-attention of their blocks alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, cast

import torch
from torch import Tensor, nn

from sanakit.common.errors import ShapeError
from sanakit.layers.cross_attention import CrossAttention, Places
from sanakit.layers.embeddings import CaptionProjection
from sanakit.models.network import Network
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition, FoldedRows


class PromptedConfig(Protocol):
    """The config of such a network."""

    @property
    def caption_channels(self) -> int: ...


class PromptedBlock(nn.Module):
    """A block that attends to the text."""

    cross_attention: CrossAttention


class Prompted(Network):
    """A network that brings texts to its own width."""

    config: PromptedConfig
    caption_projection: CaptionProjection
    caption_norm: nn.Module

    def embed(self, text: TextCondition) -> tuple[Tensor, Places | None]:
        """The tokens of a text; of one that is padded only those that are seen, and their places.

        Raises:
            ShapeError: it is another text encoder's.
        """
        if text.embeds.shape[-1] != self.config.caption_channels:
            raise ShapeError(
                f"the text has {text.embeds.shape[-1]} channels and this network reads "
                f"{self.config.caption_channels}; it was trained with another text encoder"
            )
        places = Places.of(text.mask) if _is_padded(text.mask) else None
        embeds = text.embeds if places is None else places.take(text.embeds)
        return self.caption_norm(self.caption_projection(embeds.to(self.compute_dtype))), places


class PromptedTransformer(Prompted):
    """A network whose blocks all attend to the text."""

    outside_forward: ClassVar[tuple[str, ...]] = ("prepare",)
    blocks: nn.ModuleList

    @property
    def units(self) -> tuple[PromptedBlock, ...]:
        return tuple(cast(PromptedBlock, block) for block in self.blocks)

    @property
    def apart(self) -> tuple[nn.Module, ...]:
        """What ``prepare`` runs of every block."""
        return run_before(self.units)

    def prepare(self, text: TextCondition) -> Condition:
        """Everything that depends on the prompt alone; exact, once per prompt instead of once per step."""
        return condition_of(self.units, *self.embed(text), text.mask)


def run_before(blocks: Sequence[PromptedBlock]) -> tuple[nn.Module, ...]:
    """The layers of blocks that ``condition_of`` runs."""
    return tuple(part for block in blocks for part in (block.cross_attention.kv, block.cross_attention.norm_k))


def condition_of(blocks: Sequence[PromptedBlock], embeds: Tensor, places: Places | None, mask: Tensor) -> Condition:
    """What blocks are told of texts ``(B, L, C)``, seen where ``mask (B, L)`` is True."""
    keys, values = zip(*(block.cross_attention.prepare(embeds, places) for block in blocks), strict=True)
    folded = _fold(blocks, keys, values, mask)
    return Condition(keys=keys, values=values, mask=mask[:, None, None, :], folded=folded)


def _fold(
    blocks: Sequence[PromptedBlock], keys: Sequence[Tensor], values: Sequence[Tensor], mask: Tensor
) -> tuple[FoldedRows, ...]:
    """Of frozen weights on the CPU, where calls have few rows; none of other weights, which may change or learn, of
    shards, which are put together only for the call of their block, and none while gradients are kept or where a plan
    of memory has no values."""
    if torch.is_grad_enabled() or type(mask) is not Tensor:
        return ()
    parameters = (parameter for block in blocks for parameter in block.parameters())
    if mask.device.type != "cpu" or any(p.requires_grad or hasattr(p, "device_mesh") for p in parameters):
        return ()
    return tuple(
        tuple(map(block.cross_attention.fold, k, v, mask)) for block, k, v in zip(blocks, keys, values, strict=True)
    )


def _is_padded(mask: Tensor) -> bool:
    """On the CPU, and where values are there at all: plans of memory run on tensors without them."""
    return type(mask) is Tensor and mask.device.type == "cpu" and not mask.all()


def table(rows: int, size: int) -> Tensor:
    """Random ``(rows, size)`` of variance ``1 / size``, as upstream draws it.

    Uniform, because on the meta device every other random function imports the compiler, seconds of start-up.
    """
    bound = (3 / size) ** 0.5
    return torch.empty(rows, size).uniform_(-bound, bound)


def two_rows(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply ``layer`` with at least two rows.

    A product with one row takes another code path on the CPU (a matrix times a vector) and rounds differently from the
    same row in a batch. Larger products may still be cut by their number of rows, in float32 seen with 2 against 5:
    bits that must not depend on a batch need calls of one size, which is what the pipeline makes on the CPU.
    """
    if x.shape[0] > 1:
        return layer(x)
    return layer(torch.cat([x, x]))[:1]
