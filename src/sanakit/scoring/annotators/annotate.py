"""What a ControlNet is shown of a picture, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import RequestError
from sanakit.scoring.annotators.edges import blurred, canny, gray_of, soft_edges
from sanakit.scoring.annotators.scribbles import DEFAULT_THICKNESS, MAX_THICKNESS, ink, scale_of, scribble, thickened

Pixels = NDArray[np.uint8]
"""``(H, W, 3)``."""

ANNOTATORS_VERSION = 1  # changes whenever some picture has another map
TILE = 8  # a tile picture has one colour for so many pixels a side
BLUR = 1 / 64  # of the shorter side


Draw = Callable[[Pixels, int], Pixels]
"""Pixels and a thickness, of those that draw lines, to a map of the same size."""


def _white(lines: NDArray[np.bool_]) -> Pixels:
    return np.repeat((lines * np.uint8(255))[..., None], 3, axis=-1)


def _levels(gray: NDArray[np.float64]) -> Pixels:
    return np.repeat(gray.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def _hed(pixels: Pixels, thickness: int) -> Pixels:
    from sanakit.scoring.annotators.hed import hed_edges  # and torch

    return _white(scribble(hed_edges(pixels), thickness))


def _lines(pixels: Pixels, thickness: int) -> Pixels:
    """Soft lines where it is darker or lighter than around, as a pencil draws."""
    gray = gray_of(pixels)
    return _levels(np.abs(blurred(gray, 1.0) - blurred(gray, 4.0)) * 8)


def _depth(pixels: Pixels, thickness: int) -> Pixels:
    """A given map of one channel, from its least to its greatest."""
    gray = gray_of(pixels)
    low, high = gray.min(), gray.max()
    return _levels((gray - low) * (255 / max(high - low, 1e-9)))


def _blur(pixels: Pixels, thickness: int) -> Pixels:
    sigma = max(1.0, BLUR * min(pixels.shape[:2]))
    channels = [blurred(channel.astype(np.float64), sigma) for channel in np.moveaxis(pixels, -1, 0)]
    return np.stack(channels, axis=-1).round().clip(0, 255).astype(np.uint8)


def _tile(pixels: Pixels, thickness: int) -> Pixels:
    """Mean colours of squares of ``TILE`` pixels."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge").astype(np.float64)
    rows, columns = padded.shape[0] // TILE, padded.shape[1] // TILE
    means = padded.reshape(rows, TILE, columns, TILE, 3).mean(axis=(1, 3))
    large = means.repeat(TILE, axis=0).repeat(TILE, axis=1)[:height, :width]
    return large.round().clip(0, 255).astype(np.uint8)


def _as_it_is(pixels: Pixels, thickness: int) -> Pixels:
    return pixels


def _edges(pixels: Pixels, thickness: int) -> Pixels:
    return _white(canny(pixels))


def _scribble(pixels: Pixels, thickness: int) -> Pixels:
    sigma = max(0.7, 2 * scale_of(pixels.shape[:2]))
    return _white(scribble(soft_edges(pixels, sigma=sigma), thickness))


def _drawing(pixels: Pixels, thickness: int) -> Pixels:
    return _white(thickened(ink(pixels), thickness))


ANNOTATORS: Mapping[str, Draw] = {
    "edges": _edges, "scribble": _scribble, "hed": _hed, "drawing": _drawing, "lines": _lines, "depth": _depth,
    "segmentation": _as_it_is, "tile": _tile, "blur": _blur, "given": _as_it_is,
}  # fmt: skip
"""By name; ``KIND:THICKNESS`` says how thick lines are, of those that have it."""
WITH_THICKNESS = ("scribble", "hed", "drawing")


def parse_kind(words: str) -> tuple[str, int]:
    """Name and thickness of ``scribble`` or ``scribble:4``.

    Raises:
        RequestError: there is no such annotator, or its lines have no such thickness.
    """
    name, colon, number = words.partition(":")
    if name not in ANNOTATORS:
        raise RequestError(f"a picture cannot control as {words!r}; it is one of {', '.join(ANNOTATORS)}.")
    if not colon:
        return name, DEFAULT_THICKNESS
    is_number = re.fullmatch("[0-9]{1,2}", number) and int(number) <= MAX_THICKNESS
    if name not in WITH_THICKNESS or not is_number:
        raise RequestError(
            f"{words!r} is not usable; {', '.join(WITH_THICKNESS)} have a thickness from 0 to {MAX_THICKNESS}, such as "
            f"{WITH_THICKNESS[0]}:4."
        )
    return name, int(number)


def annotate_for_training(pixels: Pixels, kind: str) -> Pixels:
    """The same; lines whose thickness is not said have one of all at random, that follows from the pixels."""
    name, _, thickness = kind.partition(":")
    if thickness or name not in WITH_THICKNESS:
        return annotate(pixels, kind)
    most = round(MAX_THICKNESS * scale_of(pixels.shape[:2]))
    return annotate(pixels, f"{name}:{crc32(pixels.tobytes()) % (most + 1)}")


def annotate(pixels: Pixels, kind: str) -> Pixels:
    """``(H, W, 3)`` of bytes to the map that a ControlNet is shown, of the same size.

    Args:
        kind: a name of ``ANNOTATORS``, with a thickness perhaps.

    Raises:
        RequestError: there is no such annotator.
    """
    name, thickness = parse_kind(kind)
    return ANNOTATORS[name](pixels, thickness)
