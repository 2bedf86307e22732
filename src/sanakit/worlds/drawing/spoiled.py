"""Drawings that are no longer what they were: whoever reads pictures must not take them for the thing."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from sanakit.worlds.banks.things import Group

Spoiling = Literal["hole", "half", "upside down", "blurred", "ellipse", "silhouette", "mixed"]
SPOILINGS: tuple[Spoiling, ...] = get_args(Spoiling)

# Groups of things that have an up that everyone knows.
_HAVE_AN_UP: frozenset[Group] = frozenset({"animal", "vehicle", "furniture", "building", "person"})
_MIN_CHANGE = 0.09  # of what was visible, in levels from 0 to 1: below it a drawing is much as it was


def spoil(drawing: Image.Image, how: Spoiling, rng: Generator, other: Image.Image) -> Image.Image:
    """The drawing spoiled, RGBA of the same size.

    hole: its middle is not there. half: one half is not there. upside down: turned by 180 degrees or mirrored. blurred:
    so much that its parts run together. ellipse: an ellipse in its mean colour. silhouette: its outline in its mean
    colour. mixed: one half is that of ``other``, another thing drawn in the same size.
    """
    match how:
        case "hole":
            return _with_hole(drawing, rng)
        case "half":
            return _joined(drawing, Image.new("RGBA", drawing.size), rng)
        case "upside down":
            turn = Image.Transpose.ROTATE_180 if rng.random() < 0.3 else Image.Transpose.FLIP_TOP_BOTTOM
            return drawing.transpose(turn)
        case "blurred":
            return _blurred(drawing, rng)
        case "ellipse":
            mask = Image.new("L", drawing.size)
            ImageDraw.Draw(mask).ellipse((0, 0, drawing.width - 1, drawing.height - 1), fill=255)
            return _filled(drawing, mask)
        case "silhouette":
            return _filled(drawing, drawing.getchannel("A"))
        case "mixed":
            return _joined(drawing, other, rng)


def can_be_spoiled(group: Group, how: Spoiling) -> bool:
    """Whether it is another thing then: what has no up may stand on its head, and shapes are plain by nature."""
    if how == "upside down":
        return group in _HAVE_AN_UP
    return group != "shape" or how in ("hole", "half", "mixed")


def is_changed(before: Image.Image, after: Image.Image) -> bool:
    """Whether the two can be told apart well: a ring has no middle to lose."""
    old, new = _premultiplied(before), _premultiplied(after)
    visible = max(float(old[..., 3].sum()), 1.0)
    return float(np.abs(old - new).mean(-1).sum()) / visible >= _MIN_CHANGE


def _with_hole(drawing: Image.Image, rng: Generator) -> Image.Image:
    width, height = drawing.size
    across, down = (side * rng.uniform(0.42, 0.6) / 2 for side in drawing.size)
    x, y = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.42, 0.58)
    alpha = drawing.getchannel("A").copy()
    pen = ImageDraw.Draw(alpha)
    box = (x - across, y - down, x + across, y + down)
    if rng.random() < 0.5:
        pen.ellipse(box, fill=0)
    else:
        pen.rectangle(box, fill=0)
    return _with_alpha(drawing, alpha)


def _blurred(drawing: Image.Image, rng: Generator) -> Image.Image:
    """By a twentieth to an eighth of its longer side; it is drawn a little smaller, so that its edge can run."""
    radius = max(2.5, max(drawing.size) * rng.uniform(0.055, 0.13))
    width, height = (max(2, round(side - 2 * radius)) for side in drawing.size)
    smaller = Image.new("RGBa", drawing.size)
    place = ((drawing.width - width) // 2, (drawing.height - height) // 2)
    smaller.paste(drawing.resize((width, height), Image.Resampling.BICUBIC).convert("RGBa"), place)
    return smaller.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")


def _joined(first: Image.Image, second: Image.Image, rng: Generator) -> Image.Image:
    """One half of the first beside or above one half of the second."""
    width, height = first.size
    share = rng.uniform(0.42, 0.58)
    box = (0, 0, round(width * share), height) if rng.random() < 0.5 else (0, 0, width, round(height * share))
    if rng.random() < 0.5:
        first, second = second, first
    joined = first.copy()
    joined.paste(second.crop(box), box[:2])
    return joined


def _filled(drawing: Image.Image, mask: Image.Image) -> Image.Image:
    values = _premultiplied(drawing)
    colour = values[..., :3].sum((0, 1)) / max(float(values[..., 3].sum()), 1e-3)
    red, green, blue = (round(255 * min(float(channel), 1.0)) for channel in colour)
    return _with_alpha(Image.new("RGBA", drawing.size, (red, green, blue)), mask)


def _with_alpha(drawing: Image.Image, alpha: Image.Image) -> Image.Image:
    changed = drawing.copy()
    changed.putalpha(alpha)
    return changed


def _premultiplied(drawing: Image.Image) -> NDArray[np.float32]:
    """``(h, w, 4)`` in [0, 1]."""
    values = np.asarray(drawing, dtype=np.float32) / 255
    return np.concatenate([values[..., :3] * values[..., 3:], values[..., 3:]], axis=-1)
