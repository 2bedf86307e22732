"""Recolouring a picture: its main colour becomes the colour word's, lights and shadows keep their order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sanakit.worlds.scenes.vocabulary import COLOURS

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


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


def _shade(main: NDArray[np.float32], difference: NDArray[np.float32], colour: str) -> NDArray[np.float32]:
    """The colour made darker where ``difference`` (of luma, -1..1) is below 0, mixed with white where above."""
    darker = np.clip(1.0 + 0.9 * np.minimum(difference, 0.0), 0.45, 1.0)[..., None]
    strength = 0.35 if colour == "black" else 0.9
    lighter = np.clip(strength * np.maximum(difference, 0.0), 0.0, 0.5)[..., None]
    return (main * darker * (1.0 - lighter) + 255.0 * lighter).astype(np.float32)
