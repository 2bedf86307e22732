"""Recolouring a sprite: its main colour becomes the colour word's, lights and shadows keep their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sanakit.worlds.scenes.vocabulary import COLOURS

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_KEEP_DISTANCE = 10.0  # of 0..441 in RGB; where two flat colours meet, the change fades over as much again


def tint_sprite(pixels: NDArray[np.uint8], colour: str, *, kept_colours: Sequence[str]) -> NDArray[np.uint8]:
    """Recolour ``(h, w, 4)`` uint8 to a colour word, leaving ``kept_colours`` ("#rrggbb") as they are."""
    return recolour(pixels, 1.0 - kept(pixels[..., :3], kept_colours), colour)


def recolour(pixels: NDArray[np.uint8], material: NDArray[np.float32], colour: str) -> NDArray[np.uint8]:
    """Recolour ``(h, w, 4)`` uint8 to a colour word as far as ``material`` ``(h, w)`` is 1; 0 stays as it is.

    Darker parts of the drawing become a darker shade of the colour, lighter parts a lighter one. On a black
    object the near-black details (eyes, outlines) turn light, else they would vanish.
    """
    rgb, alpha = pixels[..., :3].astype(np.float32), pixels[..., 3:]
    luma = rgb @ _LUMA / 255.0  # (h, w)
    body = (alpha[..., 0] > 128) & (material > 0.5)
    main = float(np.median(luma[body])) if body.any() else 0.5
    painted = _shade(np.array(COLOURS[colour], dtype=np.float32), luma - main, colour)
    details = rgb
    if colour == "black":
        dark = np.clip((0.30 - luma) / 0.10, 0.0, 1.0)[..., None]
        details = rgb * (1.0 - dark) + 215.0 * dark
    mixed = (1.0 - material[..., None]) * details + material[..., None] * painted
    return np.concatenate([np.clip(mixed + 0.5, 0, 255).astype(np.uint8), alpha], axis=-1)


def kept(pixels: NDArray[np.uint8], colours: Sequence[str]) -> NDArray[np.float32]:
    """How far each pixel of ``(h, w, 3)`` is one of the colours ("#rrggbb"), ``(h, w)`` in [0, 1]."""
    rgb = pixels.astype(np.float32)
    palette = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], dtype=np.float32)
    nearest = np.sqrt(((rgb[:, :, None] - palette) ** 2).sum(-1)).min(-1)  # (h, w)
    return np.clip(2.0 - nearest / _KEEP_DISTANCE, 0.0, 1.0)


def _shade(main: NDArray[np.float32], difference: NDArray[np.float32], colour: str) -> NDArray[np.float32]:
    """The colour made darker where ``difference`` (of luma, -1..1) is below 0, mixed with white where above."""
    darker = np.clip(1.0 + 0.9 * np.minimum(difference, 0.0), 0.45, 1.0)[..., None]
    strength = 0.35 if colour == "black" else 0.9
    lighter = np.clip(strength * np.maximum(difference, 0.0), 0.0, 0.5)[..., None]
    return (main * darker * (1.0 - lighter) + 255.0 * lighter).astype(np.float32)
