"""Panoramas of light become pictures of places: read, tone-mapped, named."""

from __future__ import annotations

import base64
import io
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageFilter

from sanakit.common.errors import optional
from sanakit.common.progress import OnProgress, no_progress
from sanakit.worlds.banks.things import Place
from sanakit.worlds.building.models.obj import Floats

_GRAY = 0.2
_LIGHT_ITSELF = 15.0  # times white; so bright is only what shines: sun, lamps
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def places(package: Path, on_progress: OnProgress = no_progress) -> Iterator[tuple[Place, dict[str, bytes]]]:
    """The places of the npm package ``@pmndrs/assets`` (its ``.tgz``) and their pictures by member.

    Raises:
        MissingExtraError: OpenEXR is not installed.
    """
    table: Mapping[str, Mapping[str, Any]] = yaml.safe_load(
        resources.files(__package__).joinpath("places.yaml").read_text(encoding="utf-8")
    )
    with tarfile.open(package) as archive:
        for done, (source, row) in enumerate(sorted(table.items())):
            on_progress(done, len(table), f"place: {row['name']}")
            try:
                file = archive.extractfile(f"package/hdri/{source}.exr.js")
            except KeyError:  # a later version without it
                continue
            assert file is not None, "a panorama that is not a file"
            light = _read_exr(_from_script(file.read().decode("ascii")))
            picture = tone_map(light, exposure=row.get("exposure", _GRAY), cast=tuple(row.get("cast", (1.0, 1.0, 1.0))))
            yield _place(row), {_member(row): _webp(picture)}


def tone_map(light: Floats, *, exposure: float, cast: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Image.Image:
    """Linear light ``(h, w, 3)`` of any brightness to RGB: its geometric mean becomes ``exposure``, what shines white.

    Source: the fit of the ACES curve by K. Narkowicz, 2015.
    """
    light = np.clip(np.nan_to_num(light, posinf=1e4), 0.0, 1e4) * np.array(cast, np.float32)
    luma = light @ _LUMA  # (h, w)
    gain = exposure / float(np.exp(np.log(luma + 1e-3).mean()))
    x = light * min(gain, 0.9 / float(np.percentile(luma, 60)))
    shown = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0) ** (1 / 2.2)
    picture = Image.fromarray(np.round(shown * 255.0).astype(np.uint8))
    return _mended(picture, x @ _LUMA > _LIGHT_ITSELF)


def _mended(picture: Image.Image, shining: np.ndarray[Any, np.dtype[np.bool_]]) -> Image.Image:
    """The compression of the packages leaves dark specks beside lamps and in the sun: they are closed."""
    around = Image.fromarray(shining.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(9))
    closed = picture.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.MinFilter(9))
    return Image.composite(closed, picture, around)


def _place(row: Mapping[str, Any]) -> Place:
    return Place(
        name=row["name"],
        wordings=tuple(row["wordings"]),
        member=_member(row),
        indoors=row.get("indoors", False),
        licence="CC0-1.0",
        author="Poly Haven",
    )


def _member(row: Mapping[str, Any]) -> str:
    return f"places/{row['name'].replace(' ', '-').lower()}.webp"


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=90, method=6)
    return buffer.getvalue()


def _from_script(text: str) -> bytes:
    found = re.search(r"base64,([\w+/=]+)", text)
    assert found is not None, "a panorama without its data"
    return base64.b64decode(found[1])


def _read_exr(content: bytes) -> Floats:
    exr = optional("OpenEXR", "reading panoramas needs OpenEXR; install it with sanakit[worlds]")
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(content)
        file.flush()
        with exr.File(file.name) as opened:
            channels = opened.channels()
            pixels = channels["RGB" if "RGB" in channels else "RGBA"].pixels
            return np.array(pixels, dtype=np.float32)[..., :3]
