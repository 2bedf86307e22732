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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import ConfigError, MissingExtraError
from sanakit.worlds.scenes.packages import FLUENT_FLAT, fetch_package, read_icons
from sanakit.worlds.scenes.tint import tint_sprite
from sanakit.worlds.scenes.vocabulary import ITEMS, Item

SPRITE_SIZE = 128  # pixels of a sprite's longer side
_SHEET_COLUMNS = 10
_RASTER_SIZE = 512  # drawn large and reduced, so that cropping to the content costs no sharpness

# Our own drawings, on a canvas of 32 x 32 as the package's icons are.
_OWN_DRAWINGS: Mapping[str, str] = {
    "circle": '<circle cx="16" cy="16" r="15" fill="#de282c"/>',
    "square": '<rect x="2" y="2" width="28" height="28" fill="#2070e4"/>',
    "triangle": '<path d="M16 2 31 29H1Z" fill="#26a642"/>',
    "cup": (
        '<path d="M22 11h3a5 5 0 0 1 0 11h-3" fill="none" stroke="#0074ba" stroke-width="3"/>'
        '<path d="M4 7h19v16a5 5 0 0 1-5 5H9a5 5 0 0 1-5-5Z" fill="#00a6ed"/>'
        '<ellipse cx="13.500" cy="7" rx="9.500" ry="3" fill="#6d4534"/>'
    ),
}
# Colours changed in the package's drawings before they are rasterised.
_REPAINTED: Mapping[str, tuple[str, str]] = {"flower": ("#d3d3d3", "#ff8fc8")}


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
    icons = read_icons(fetch_package(FLUENT_FLAT, cache_dir))
    return SpriteBank({item.name: _draw(item, icons) for item in items})


def _draw(item: Item, icons: Mapping[str, Mapping[str, Any]]) -> NDArray[np.uint8]:
    body = _OWN_DRAWINGS[item.name] if item.icon is None else str(icons[item.icon]["body"])
    return _crop(_rasterise(body.replace(*_REPAINTED.get(item.name, ("", "")))))


def _rasterise(body: str) -> Image.Image:
    try:
        import resvg_py
    except ImportError as error:
        raise MissingExtraError("drawing the sprites needs resvg-py; install it with sanakit[data]") from error
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{body}</svg>'
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=_RASTER_SIZE, height=_RASTER_SIZE))
    return Image.open(io.BytesIO(png)).convert("RGBA")


def _crop(image: Image.Image) -> NDArray[np.uint8]:
    box = image.getchannel("A").point(lambda alpha: 255 if alpha > 16 else 0).getbbox()
    assert box is not None, "an icon without a visible pixel"
    width, height = box[2] - box[0], box[3] - box[1]
    scale = SPRITE_SIZE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Pillow premultiplies RGBA while resizing; doing it before would leave bright fringes.
    return np.array(image.crop(box).resize(size, Image.Resampling.LANCZOS))
