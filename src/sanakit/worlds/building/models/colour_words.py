"""The word of a model's own colour, if two sides of it agree and nobody would say another one."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sanakit.worlds.building.tinting import tint_of

_SHADE = 1.25  # how much brighter a colour is than it looks lit from one side
_WHITE = 168  # of 255: what is brighter and has no colour is white
_BLACK_SATURATION, _BLACK_VALUE = 0.35, 0.13  # a dark colour above both is dark blue or dark green, not black
_YELLOW_VALUE = 0.6  # what is darker is olive


def colour_word(pictures: Sequence[bytes]) -> str | None:
    """The colour that encoded RGBA pictures of several sides share; None if they differ or it is doubtful."""
    words = {_word(Image.open(io.BytesIO(picture)).convert("RGBA")) for picture in pictures}
    return words.pop() if len(words) == 1 else None


def _word(picture: Image.Image) -> str | None:
    word = tint_of(picture).natural
    pixels = np.asarray(picture)
    seen = np.asarray(picture.convert("RGB").convert("HSV"))[pixels[..., 3] > 128] / 255.0  # (N, 3)
    saturation, value = np.median(seen[:, 1]), np.median(seen[:, 2])
    if word == "gray":
        return "white" if value * 255.0 > _WHITE else "gray"
    if word == "black":
        return None if saturation > _BLACK_SATURATION and value > _BLACK_VALUE else "black"
    if word == "yellow" and value < _YELLOW_VALUE:
        return None
    return word if word == tint_of(_brighter(picture)).natural or word == "white" else None


def _brighter(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture).astype(np.float32)
    pixels[..., :3] = np.minimum(pixels[..., :3] * _SHADE, 255.0)
    return Image.fromarray(pixels.astype(np.uint8))
