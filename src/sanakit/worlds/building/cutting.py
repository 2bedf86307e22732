"""From a picture to a view of a bank: cut to what is visible, reduced, encoded."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VIEW_SIZE = 160  # pixels of the longer side of a view, at most
_VISIBLE = 16  # of 255 alpha
_QUALITY = 85


def cut(image: Image.Image, size: int = VIEW_SIZE) -> Image.Image | None:
    """RGBA cropped to its visible pixels, its longer side at most ``size``; None if nothing is visible."""
    box = image.getchannel("A").point(lambda alpha: 255 if alpha > _VISIBLE else 0).getbbox()
    if box is None:
        return None
    cropped = image.crop(box)
    scale = min(1.0, size / max(cropped.size))
    width, height = (max(1, round(side * scale)) for side in cropped.size)
    return cropped.resize((width, height), Image.Resampling.LANCZOS)  # Pillow premultiplies alpha for it


def as_webp(image: Image.Image, quality: int = _QUALITY) -> bytes:
    """Lossy colours, exact alpha."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=5, alpha_quality=100)
    return buffer.getvalue()


def as_gray_webp(values: NDArray[np.float32]) -> bytes:
    """``(h, w)`` in [0, 1]."""
    return as_webp(Image.fromarray(np.round(values * 255.0).clip(0, 255).astype(np.uint8)), quality=70)
