"""What a pipeline returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.common.pixels import from_signed
from sanakit.pipelines.picture_place import OutputPlace, choose_place, slug
from sanakit.pipelines.record import PictureRecord, describe_image

Output = Literal["pil", "np", "tensor", "latent"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GeneratedImage:
    """One finished picture.

    ``image`` is Pillow's for ``output="pil"`` and an array ``(H, W, 3)`` float32 in [0, 1] for ``"np"``, ``pixels``
    ``(3, H, W)`` float32, about [-1, 1], for ``"tensor"``, and ``latent`` ``(1, C, h, w)`` float32 on the CPU always.
    ``record`` tells how to make it again.
    """

    record: PictureRecord
    latent: Tensor
    pixels: Tensor | None = None
    image: Image.Image | NDArray[np.float32] | None = None

    @property
    def recipe(self) -> PictureRecord:
        """The name of ``record`` in 0.1.0."""
        return self.record

    @property
    def picture(self) -> Image.Image:
        """The picture of 8 bits, whatever output was asked for.

        Raises:
            RequestError: it was not decoded.
        """
        match self.image:
            case Image.Image():
                return self.image
            case np.ndarray():
                return Image.fromarray((self.image * 255.0).round().astype(np.uint8))
        if self.pixels is None:
            raise RequestError('this picture is a latent only; make it without output="latent", or decode it first')
        return to_image(self.pixels)

    def save(self, output: str | Path | OutputPlace | Any = ".", *, metadata: bool = True) -> Path:
        """Write what ``sanakit generate --output`` writes, with the record inside; gives the file.

        Args:
            output: a file, whose suffix .png, .jpg or .webp decides; or a folder, which gets a PNG under a new name
                of prompt and seed.
            metadata: False leaves prompt, seed and settings out.

        Raises:
            RequestError: that is no place for a picture, or the picture was not decoded.
            OutputError: it cannot be written.
        """
        place = output if isinstance(output, OutputPlace) else choose_place(output)
        picture, record = self.picture, self.record
        if record.image is None:
            record = record.model_copy(update={"image": describe_image(picture)})
        stem = f"{slug(record.request.prompt)}-seed{record.request.seed}"
        return place.write(stem, picture, record if metadata else None)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GenerationResult:
    """The pictures of a call, in the order of its requests and seeds."""

    images: list[GeneratedImage]


def check_output(output: object) -> None:
    """Raises RequestError for an output that is not offered."""
    if output not in get_args(Output):
        raise RequestError(f"output={output!r} is not offered; it is one of {', '.join(get_args(Output))}.")


def as_output(output: Output, pixels: Tensor, record: PictureRecord, latent: Tensor) -> GeneratedImage:
    """Pixels ``(3, H, W)``, about [-1, 1], as "tensor" or "np"."""
    if output == "tensor":
        return GeneratedImage(record=record, latent=latent, pixels=pixels)
    unit = (pixels.clamp(-1, 1) + 1) / 2  # (3, H, W)
    return GeneratedImage(record=record, latent=latent, image=unit.permute(1, 2, 0).contiguous().numpy())


def to_image(pixels: Tensor) -> Image.Image:
    """``(3, H, W)`` in [-1, 1] to an 8-bit RGB picture."""
    return Image.fromarray(from_signed(pixels[None])[0])
