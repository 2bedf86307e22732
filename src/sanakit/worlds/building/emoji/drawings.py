"""Flat drawings: of the icon set by name or by emoji, and a few of our own, as RGBA pictures."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.errors import DownloadError, optional
from sanakit.worlds.building.emoji.words import code_points

_RASTER_SIZE = 512  # drawn large and reduced, so that cropping to the content costs no sharpness
_ALWAYS_KEPT = ("#1c1c1c", "#212121", "#ffffff")  # eyes and whites

# Our own drawings, on a canvas of 32 x 32 as the icon set's are.
_OWN: Mapping[str, str] = {
    "circle": '<circle cx="16" cy="16" r="15" fill="#de282c"/>',
    "square": '<rect x="2" y="2" width="28" height="28" fill="#2070e4"/>',
    "triangle": '<path d="M16 2 31 29H1Z" fill="#26a642"/>',
    "cup": (
        '<path d="M22 11h3a5 5 0 0 1 0 11h-3" fill="none" stroke="#0074ba" stroke-width="3"/>'
        '<path d="M4 7h19v16a5 5 0 0 1-5 5H9a5 5 0 0 1-5-5Z" fill="#00a6ed"/>'
        '<ellipse cx="13.500" cy="7" rx="9.500" ry="3" fill="#6d4534"/>'
    ),
}
# Colours changed in the icon set's drawings before they are rasterised.
_REPAINTED: Mapping[str, tuple[str, str]] = {"flower": ("#d3d3d3", "#ff8fc8")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A drawing given by hand: ``icon`` None for our own; ``kept`` colours ("#rrggbb") stay when it is tinted."""

    name: str
    icon: str | None
    natural: str | None
    kept: tuple[str, ...]


@lru_cache(maxsize=1)
def given_drawings() -> Mapping[str, Drawing]:
    """The drawings of ``drawings.txt`` by the name of their thing."""
    text = resources.files("sanakit").joinpath("worlds", "building", "emoji", "drawings.txt").read_text("utf-8")
    rows = [line.split(" :") for line in text.splitlines() if line and not line.startswith("#")]
    return {name.strip(): _drawing(name.strip(), *map(str.strip, rest)) for name, *rest in rows}


def _drawing(name: str, icon: str, natural: str, kept: str) -> Drawing:
    none = (None if word == "-" else word for word in (icon, natural))
    return Drawing(name=name, icon=next(none), natural=next(none), kept=(*_ALWAYS_KEPT, *kept.split()))


class Icons:
    """The drawings of an icon set, read once from its package."""

    def __init__(self, tarball: Path) -> None:
        self._icons: Mapping[str, Mapping[str, Any]] = _json_of(tarball, "icons.json")["icons"]
        characters: Mapping[str, str] = _json_of(tarball, "chars.json")
        self._by_code = {code.replace("-fe0f", "").zfill(4): icon for code, icon in characters.items()}

    def given(self, drawing: Drawing) -> Image.Image:
        """RGBA of a drawing given by hand."""
        body = _OWN[drawing.name] if drawing.icon is None else str(self._icons[drawing.icon]["body"])
        return rasterised(_svg(body.replace(*_REPAINTED.get(drawing.name, ("", "")))), _RASTER_SIZE)

    def of_emoji(self, emoji: str) -> Image.Image | None:
        """RGBA; None if the set has no drawing of it."""
        icon = self._by_code.get(code_points(emoji))
        return None if icon is None else rasterised(_svg(str(self._icons[icon]["body"])), _RASTER_SIZE)


def rasterised(svg: str, size: int) -> Image.Image:
    """RGBA, ``size`` pixels wide.

    Raises:
        MissingExtraError: resvg-py is not installed.
    """
    resvg = optional("resvg_py", "drawings are rasterised by resvg-py; install it with sanakit[worlds]")
    png = bytes(resvg.svg_to_bytes(svg_string=svg, width=size, height=size))
    return Image.open(io.BytesIO(png)).convert("RGBA")


def _svg(body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{body}</svg>'


def _json_of(tarball: Path, name: str) -> Any:
    with tarfile.open(tarball) as archive:
        member = archive.extractfile(f"package/{name}")
        if member is None:
            raise DownloadError(f"{tarball} holds no package/{name}; remove it and fetch it again")
        return json.load(member)
