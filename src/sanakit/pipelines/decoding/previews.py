"""What a latent looks like, nearly for nothing: a linear map from its channels to pixels, fitted for an autoencoder."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sanakit.common.pixels import from_signed, to_signed
from sanakit.pipelines.sources.picture import SourcePicture

CELL = 4  # pixels of a preview a side, of every cell of the latent
LARGEST = 512  # pixels a side of a preview that is sent
LARGEST_OF_CLIP = 256
_NUM_PICTURES, _SIDE = 8, 256
_RIDGE = 1e-3  # of the mean square of the latents, so that channels that hardly change get no huge weights


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """``weight`` ``(channels + 1, 3 * CELL**2)``: its last row is added."""

    weight: Tensor

    def pixels(self, latent: Tensor) -> Tensor:
        """``(1, C, h, w)`` to ``(1, 3, CELL*h, CELL*w)``, about [-1, 1]."""
        cells = latent[0].flatten(1).T.float().cpu()  # (h*w, C)
        told = cells @ self.weight[:-1] + self.weight[-1]
        columns = told.T.reshape(1, -1, *latent.shape[-2:])
        return torch.nn.functional.pixel_shuffle(columns, CELL)

    def picture(self, latent: Tensor, height: int, width: int) -> Image.Image:
        """A preview in the shape of a picture of that size, at most `LARGEST` a side."""
        image = Image.fromarray(from_signed(self.pixels(latent))[0])
        shrunk = min(LARGEST / max(height, width), 1.0)
        return image.resize((max(round(width * shrunk), 1), max(round(height * shrunk), 1)), Image.Resampling.BICUBIC)

    def file(self, latent: Tensor, height: int, width: int) -> bytes:
        """A preview of a picture, or of a clip at 4 frames of its latent a second, as WebP."""
        if latent.ndim == 5:
            return self.clip(latent, height, width, 4.0)
        written = io.BytesIO()
        self.picture(latent, height, width).save(written, "webp", quality=85)
        return written.getvalue()

    def clip(self, latent: Tensor, height: int, width: int, fps: float) -> bytes:
        """An animated WebP of the frames of a latent ``(1, C, T, h, w)``, at most `LARGEST_OF_CLIP` a side."""
        shrunk = min(LARGEST_OF_CLIP / max(height, width), 1.0)
        size = max(round(height * shrunk), 1), max(round(width * shrunk), 1)
        first, *others = (self.picture(frame, *size) for frame in latent.unbind(2))
        written, shown = io.BytesIO(), max(round(1000 / fps), 1)
        first.save(written, "webp", save_all=True, append_images=others, duration=shown, loop=0, quality=70)
        return written.getvalue()


def fit_projection(encode: Callable[[SourcePicture, tuple[int, int]], Tensor]) -> Projection:
    """By least squares between drawn pictures and their latents.

    Args:
        encode: gives the latent ``(1, C, h, w)`` of a picture brought to height and width.
    """
    pictures = [SourcePicture.of(each) for each in drawn_pictures()]
    latents = [encode(each, (_SIDE, _SIDE)).float().cpu() for each in pictures]
    rows = torch.cat([latent[0].flatten(1).T for latent in latents])
    rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1).double()
    side = CELL * latents[0].shape[-1]
    small = to_signed([np.asarray(each.image.resize((side, side), Image.Resampling.BOX)) for each in pictures])
    wanted = torch.nn.functional.pixel_unshuffle(small, CELL).permute(0, 2, 3, 1).flatten(0, 2).double()
    gram = rows.T @ rows
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return Projection(torch.linalg.solve(gram, rows.T @ wanted).float())


def drawn_pictures() -> Sequence[Image.Image]:
    """Gradients with shapes on them, always the same ones."""
    random = np.random.default_rng(0)
    return [_drawn(random) for _ in range(_NUM_PICTURES)]


def _drawn(random: np.random.Generator) -> Image.Image:
    corners = random.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for number in range(24):
        x, y, size = (int(value) for value in (*random.integers(-16, _SIDE, 2), random.integers(8, _SIDE // 3)))
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape(
            (x, y, x + size, y + int(size * random.uniform(0.4, 1.6))), fill=tuple(map(int, random.integers(0, 256, 3)))
        )
    return image
