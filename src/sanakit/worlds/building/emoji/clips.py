"""Stills and clips of the 3-D emoji, read in one pass through each package."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath

from PIL import Image

NUM_FRAMES = 4  # that are taken of a clip


def read_stills(tarball: Path, wanted: Set[str]) -> Iterator[tuple[str, Image.Image]]:
    """(code points, RGBA) of the emoji in ``wanted`` (code points without variation signs)."""
    for code, content in _members(tarball, wanted):
        with Image.open(io.BytesIO(content)) as image:
            yield code, image.convert("RGBA")


def read_clips(tarball: Path, wanted: Set[str]) -> Iterator[tuple[str, list[Image.Image]]]:
    """(code points, ``NUM_FRAMES`` RGBA spread over the clip) of those in ``wanted`` that move."""
    for code, content in _members(tarball, wanted):
        with Image.open(io.BytesIO(content)) as clip:
            frames = getattr(clip, "n_frames", 1)
            if frames > NUM_FRAMES:
                yield code, [_frame(clip, (2 * k + 1) * frames // (2 * NUM_FRAMES)) for k in range(NUM_FRAMES)]


def _frame(clip: Image.Image, number: int) -> Image.Image:
    clip.seek(number)
    return clip.convert("RGBA")


def _members(tarball: Path, wanted: Set[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(tarball, "r|gz") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            code = path.stem.replace("-fe0f", "")
            if path.suffix == ".webp" and code in wanted and (file := archive.extractfile(member)) is not None:
                yield code, file.read()
