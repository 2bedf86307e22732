"""How much memory and arithmetic a picture takes, from the sizes of the published models."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelNeeds:
    """Sizes of one published model.

    ``parameters`` counts billions of transformer, autoencoder and text encoder together. ``gigaflops_per_token`` is
    of the transformer, for one row and step; both rows of guidance run in every step.
    """

    name: str
    sizes: tuple[int, ...]  # sides in pixels that checkpoints exist for
    parameters: float
    hidden_size: int
    gigaflops_per_token: float
    dtypes: tuple[str, ...] = ("float32", "bfloat16")  # on a CPU; see checkpoints/identity/precision.py for the lines


_GEMMA_AND_DC_AE = 2.61 + 0.31
_DECODE_GIGAFLOPS_PER_PIXEL = 8369 / 1024**2

# Counts: the published models; gigaflops: measured with a flop counter at 1024 px (2243 and 5933 per pair and step,
# 1024 tokens), and in proportion to the depth for the 4.8B.
PUBLISHED = (
    ModelNeeds(
        name="Sana 0.6B", sizes=(512, 1024), parameters=0.59 + _GEMMA_AND_DC_AE, hidden_size=1152,
        gigaflops_per_token=2243 / 2048, dtypes=("float32",),
    ),
    ModelNeeds(
        name="Sana 1.6B", sizes=(512, 1024, 2048, 4096), parameters=1.60 + _GEMMA_AND_DC_AE, hidden_size=2240,
        gigaflops_per_token=5933 / 2048,
    ),
    ModelNeeds(
        name="SANA-1.5 1.6B", sizes=(1024,), parameters=1.60 + _GEMMA_AND_DC_AE, hidden_size=2240,
        gigaflops_per_token=5933 / 2048,
    ),
    ModelNeeds(
        name="SANA-1.5 4.8B", sizes=(1024,), parameters=4.72 + _GEMMA_AND_DC_AE, hidden_size=2240,
        gigaflops_per_token=3 * 5933 / 2048,
    ),
)  # fmt: skip


def memory_needed(model: ModelNeeds, size: int, dtype: str) -> float:
    """Bytes at the peak: all weights, and the larger of a step's tensors and a decoding in tiles of 512 px.

    An estimate: a step holds about four tensors as wide as the Mix-FFN's inside (5 times the width) for both rows of
    guidance; a tile about six tensors of 128 channels in float32.
    """
    width = {"float32": 4, "bfloat16": 2, "float16": 2}[dtype]
    tokens = (size // 32) ** 2
    step = 4 * 2 * tokens * 5 * model.hidden_size * width
    decode = 6 * 128 * 512**2 * 4 + 3 * 3 * size**2 * 4
    return model.parameters * 1e9 * width + max(step, decode) + 0.5e9


def gigaflops_needed(model: ModelNeeds, size: int) -> float:
    """Arithmetic of a picture with guidance and 20 steps, without the text encoder's."""
    step = 2 * (size // 32) ** 2 * model.gigaflops_per_token
    return STEPS * step + _DECODE_GIGAFLOPS_PER_PIXEL * size**2
