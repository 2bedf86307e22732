"""Whole blocks of the linear diffusion transformer."""

from __future__ import annotations

from sanakit.kernels.dit_block.native import (
    BlockWeights,
    BoundWeights,
    Projection,
    Text,
    bind,
    dit_blocks,
    fits,
    pays,
    takes_text,
)

__all__ = [
    "BlockWeights", "BoundWeights", "Projection", "Text", "bind", "dit_blocks", "fits", "pays", "takes_text",
]  # fmt: skip
