"""The sprite bank: one cropped RGBA picture per object, and its tinted versions.

The bank ships with the package as one lossless WebP sheet and a JSON of places, so that composing scenes and
scoring pictures need neither npm nor an SVG rasteriser.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import ConfigError
from sanakit.worlds.scenes.tint import tint_sprite
from sanakit.worlds.scenes.vocabulary import ITEMS


class SpriteBank:
    """Pictures by object name, straight (not premultiplied) RGBA, ``(h, w, 4)`` uint8 with the longer side 128.

    Tinted and resized versions are made when first asked for and kept.
    """

    def __init__(self, sprites: Mapping[str, NDArray[np.uint8]]) -> None:
        missing = [name for name in ITEMS if name not in sprites]
        if missing:
            raise ConfigError(f"the sprite bank lacks {', '.join(missing)}")
        self._sprites = dict(sprites)
        self._images: dict[tuple[str, str | None], Image.Image] = {}

    def sprite(self, name: str, colour: str | None = None) -> NDArray[np.uint8]:
        """``(h, w, 4)`` uint8, in its natural look or tinted to a colour word."""
        return np.asarray(self.image(name, colour))

    def image(self, name: str, colour: str | None = None) -> Image.Image:
        """The same as `sprite`, as a Pillow image that must not be changed."""
        key = (name, colour)
        if key not in self._images:
            pixels = self._sprites[name]
            if colour is not None:
                pixels = tint_sprite(pixels, colour, kept_colours=ITEMS[name].kept_colours)
            self._images[key] = Image.fromarray(pixels)
        return self._images[key]


@lru_cache(maxsize=1)
def load_sprite_bank() -> SpriteBank:
    """The bank that ships with the package."""
    folder = resources.files("sanakit").joinpath("starter")
    places: dict[str, tuple[int, int, int, int]] = json.loads(folder.joinpath("sprites.json").read_text())
    sheet = np.asarray(Image.open(io.BytesIO(folder.joinpath("sprites.webp").read_bytes())).convert("RGBA"))
    return SpriteBank({name: sheet[y : y + h, x : x + w].copy() for name, (x, y, w, h) in places.items()})
