"""What a pipeline returns."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from sanakit.common.pixels import from_signed
from sanakit.pipelines.record import PictureRecord


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GeneratedImage:
    """One finished picture.

    ``image`` is set for ``output="pil"``, ``pixels`` ``(3, H, W)`` float32, about [-1, 1], for ``"tensor"``, and
    ``latent`` ``(1, C, h, w)`` float32 on the CPU always. ``record`` tells how to make it again.
    """

    record: PictureRecord
    latent: Tensor
    pixels: Tensor | None = None
    image: Image.Image | None = None

    @property
    def recipe(self) -> PictureRecord:
        """The name of ``record`` in 0.1.0."""
        return self.record


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GenerationResult:
    """The pictures of a call, in the order of its requests and seeds."""

    images: list[GeneratedImage]


def to_image(pixels: Tensor) -> Image.Image:
    """``(3, H, W)`` in [-1, 1] to an 8-bit RGB picture."""
    return Image.fromarray(from_signed(pixels[None])[0])
