"""The sprite bank: one cropped RGBA picture per object, and its tinted versions.

The bank ships with the package as one lossless WebP sheet and a JSON of places, so that composing scenes and
scoring pictures need neither npm nor an SVG rasteriser. `build_sprite_bank` draws it anew.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import ConfigError
from sanakit.worlds.building.cutting import cut
from sanakit.worlds.building.emoji.drawings import Drawing, Icons, given_drawings
from sanakit.worlds.building.fetching import fetch_package
from sanakit.worlds.building.packages import FLUENT_FLAT
from sanakit.worlds.scenes.tint import tint_sprite
from sanakit.worlds.scenes.vocabulary import ITEMS, Item

SPRITE_SIZE = 128  # pixels of a sprite's longer side
_SHEET_COLUMNS = 10


class SpriteBank:
    """Pictures by object name, straight (not premultiplied) RGBA, ``(h, w, 4)`` uint8 with the longer side 128.

    Tinted and resized versions are made when first asked for and kept.
    """

    def __init__(self, sprites: Mapping[str, NDArray[np.uint8]]) -> None:
        missing = [name for name in ITEMS if name not in sprites]
        if missing:
            raise ConfigError(f"the sprite bank lacks {', '.join(missing)}; build it anew with build_sprite_bank")
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

    def save(self, folder: Path) -> None:
        """Write ``sprites.webp`` and ``sprites.json`` (name -> x, y, width, height on the sheet)."""
        rows = -(-len(self._sprites) // _SHEET_COLUMNS)
        sheet = Image.new("RGBA", (_SHEET_COLUMNS * SPRITE_SIZE, rows * SPRITE_SIZE))
        places: dict[str, list[int]] = {}
        for index, (name, pixels) in enumerate(self._sprites.items()):
            x, y = index % _SHEET_COLUMNS * SPRITE_SIZE, index // _SHEET_COLUMNS * SPRITE_SIZE
            sheet.paste(Image.fromarray(pixels), (x, y))
            places[name] = [x, y, pixels.shape[1], pixels.shape[0]]
        folder.mkdir(parents=True, exist_ok=True)
        sheet.save(folder / "sprites.webp", lossless=True, quality=100, method=6)
        (folder / "sprites.json").write_text(json.dumps(places, indent=1) + "\n")


@lru_cache(maxsize=1)
def load_sprite_bank() -> SpriteBank:
    """The bank that ships with the package."""
    folder = resources.files("sanakit").joinpath("starter")
    places: dict[str, tuple[int, int, int, int]] = json.loads(folder.joinpath("sprites.json").read_text())
    sheet = np.asarray(Image.open(io.BytesIO(folder.joinpath("sprites.webp").read_bytes())).convert("RGBA"))
    return SpriteBank({name: sheet[y : y + h, x : x + w].copy() for name, (x, y, w, h) in places.items()})


def build_sprite_bank(cache_dir: Path, items: Iterable[Item] = tuple(ITEMS.values())) -> SpriteBank:
    """Draw every object from the npm package (fetched into ``cache_dir``) or from our own drawings."""
    icons, drawings = Icons(fetch_package(FLUENT_FLAT, cache_dir)), given_drawings()
    return SpriteBank({item.name: _draw(icons, drawings[item.name]) for item in items})


def _draw(icons: Icons, drawing: Drawing) -> NDArray[np.uint8]:
    image = cut(icons.given(drawing), SPRITE_SIZE)
    assert image is not None, "an icon without a visible pixel"
    return np.array(image)
