"""A thing cut out of a person's picture: by the alpha of the file, or where it stands before one plain colour."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sanakit.worlds.building.cutting import cut

_MAX_SIDE = 768  # pixels; larger pictures are made smaller before the ground is looked for
_SAME = 20  # of 255: so far may a channel of the ground be from its colour, for JPEG and light
_PLAIN_SHARE = 0.95  # of the pixels along the edges that have the colour of the ground
_LEAST_SIDE = 8  # pixels of the longer side, below which nobody sees what it is
_LEAST, _MOST = 0.005, 0.9  # of a picture that a thing may cover, the latter before a ground
_CLEAR_SHARE = 0.02  # of a picture that alpha leaves out where it is of a thing, and not of round corners
_COLOURED = 40  # of 255: between the highest and the lowest channel of a ground that no thing has by chance
_ENCLOSED_SHARE = 0.002  # of a picture: less of the ground's colour inside the thing does not matter
_SOFT = 5  # pixels: width of the window in which an edge goes from thing to ground

_Floats = NDArray[np.float32]


class CutOut(NamedTuple):
    """A thing, RGBA, cropped to what is visible; not ``sure`` where the thing encloses the white, gray or black of its
    ground, which may be a hole or its own, and stays."""

    image: Image.Image
    sure: bool


def cut_out(picture: Image.Image, alpha: Image.Image | None = None, *, size: int) -> CutOut | None:
    """The thing of a picture.

    Args:
        picture: RGB, what is see-through over white.
        alpha: gray, where the file has it; one that is hardly anywhere see-through does not count.
        size: pixels of the longer side of the result, at most.

    Returns:
        None where hardly a part of the picture is see-through and its edges are not of one colour, or where nothing of
        it would be the thing, or a few pixels, or nearly all before a ground.
    """
    picture, alpha = _smaller(picture), None if alpha is None else _smaller(alpha)
    colours = _floats(picture)  # (H, W, 3)
    opaque = np.ones(colours.shape[:2], np.float32) if alpha is None else _floats(alpha) / np.float32(255)
    if (opaque < _SAME / 255).mean() >= _CLEAR_SHARE:
        ground, seen, sure, most = _floats(np.full(3, 255)), opaque, True, 1.0
    elif (found := _plain_ground(colours)) is not None:
        ground, (seen, sure), most = found, _seen_before(found, colours), _MOST
        seen = seen * opaque
    else:
        return None
    if not _LEAST <= seen.mean() <= most:
        return None
    cleaned = _without(ground, colours, seen)
    image = cut(Image.fromarray(np.dstack([cleaned, seen * 255]).round().astype(np.uint8), "RGBA"), size)
    return None if image is None or max(image.size) < _LEAST_SIDE else CutOut(image, sure)


def _floats(values: Any) -> _Floats:
    return np.asarray(values, dtype=np.float32)


def _smaller(image: Image.Image) -> Image.Image:
    """In proportion, at most `_MAX_SIDE`."""
    small = image.copy()
    small.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.LANCZOS)
    return small


def _plain_ground(colours: _Floats) -> _Floats | None:
    """The colour along the edges, if it is one."""
    edges = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    ground = _floats(np.median(edges, axis=0))
    plain = np.abs(edges - ground).max(axis=1) <= _SAME
    return ground if plain.mean() >= _PLAIN_SHARE else None


def _seen_before(ground: _Floats, colours: _Floats) -> tuple[_Floats, bool]:
    """Alpha of what is not ground, in [0, 1], and whether that is sure.

    What the thing encloses of the ground's colour is a hole before a coloured ground. Along the edge of the thing a
    pixel is as much of it as it is away from the ground, beside its neighbours.
    """
    away = np.abs(colours - ground).max(axis=2)  # (H, W)
    alike = away <= _SAME
    reached = _reached(alike)
    is_coloured = bool(np.ptp(ground) > _COLOURED)
    outside = alike if is_coloured else reached
    near = np.asarray(Image.fromarray(outside).convert("L").filter(ImageFilter.MaxFilter(_SOFT))) > 0
    most = np.asarray(Image.fromarray(away.astype(np.uint8)).filter(ImageFilter.MaxFilter(_SOFT)))
    soft = np.clip(away / np.maximum(most, 1), 0, 1)
    seen = np.where(outside, 0, np.where(near, soft, 1)).astype(np.float32)
    return seen, is_coloured or bool((alike & ~reached).mean() < _ENCLOSED_SHARE)


def _reached(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of an area ``(H, W)`` that is connected to the edges of the picture, by sides."""
    reached = free.copy()
    reached[1:-1, 1:-1] = False
    before = -1
    while before != reached.sum():
        before = reached.sum()
        for turned, there in ((reached, free), (reached.T, free.T)):  # views: down and up, right and left
            for step in (1, -1):
                for last, row, may in zip(turned[::step], turned[::step][1:], there[::step][1:], strict=False):
                    row |= last & may
    return reached


def _without(ground: _Floats, colours: _Floats, seen: _Floats) -> _Floats:
    """The colours of the thing alone, where the ground shines through its edge."""
    part = np.maximum(seen, 0.05)[..., None]
    return np.clip((colours - (1 - part) * ground) / part, 0, 255)
