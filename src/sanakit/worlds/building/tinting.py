"""Which pixels of a drawing may take another colour, and what its own colour is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SATURATED = 0.28
_DARK, _LIGHT = 0.22, 0.93  # values below and above stay as they are: eyes, outlines, whites
_HUE_BINS = 72
_NEAR, _FAR = 20.0, 32.0  # degrees from the main hue: up to the first fully tinted, from the second not at all
_TINTABLE_SHARE = 0.45  # of the visible pixels
_NATURAL_SHARE = 0.5
_BROWN_BELOW = 0.74  # the value below which orange is brown
_KEEP_DISTANCE = 10.0  # of 0..441 in RGB; the change fades over as much again

Floats = NDArray[np.float32]

# Upper ends of hues in degrees, and their words.
_HUES = ((14, "red"), (31, "orange"), (66, "yellow"), (168, "green"), (252, "blue"), (292, "purple"), (328, "pink"))
_HUE_END = "red"


@dataclass(frozen=True, slots=True)
class Tint:
    """``mask`` ``(h, w)`` float32 in [0, 1], 1 where the colour may change; None if no one colour is the main one."""

    mask: NDArray[np.float32] | None
    natural: str | None


def tint_of(image: Image.Image) -> Tint:
    """The pixels of the main hue of an RGBA picture, if it has one, and the word of that colour."""
    hue, saturation, value, visible = _channels(image)
    colourful = visible & (saturation > _SATURATED) & (value > _DARK)
    if colourful.sum() > 0.4 * visible.sum():
        main = _main_hue(hue[colourful], saturation[colourful])
        distance = np.abs((hue - main + 180.0) % 360.0 - 180.0)
        mask = np.clip((_FAR - distance) / (_FAR - _NEAR), 0.0, 1.0) * np.clip((saturation - 0.12) / 0.16, 0.0, 1.0)
        mask = mask * np.clip((value - _DARK + 0.1) / 0.1, 0.0, 1.0)
    else:
        plain = np.clip((_SATURATED - saturation) / 0.1, 0.0, 1.0)
        mask = plain * np.clip((value - _DARK) / 0.1, 0.0, 1.0) * np.clip((_LIGHT - value) / 0.06, 0.0, 1.0)
    mask = np.where(visible, mask, 0.0).astype(np.float32)
    share = float(mask.sum() / max(1, visible.sum()))
    natural = _colour_word(image, mask) if share >= _NATURAL_SHARE else _plain_word(saturation, value, visible)
    return Tint(mask if share >= _TINTABLE_SHARE else None, natural)


def mask_but(image: Image.Image, kept: Sequence[str]) -> NDArray[np.float32]:
    """``(h, w)``: 1 but where the picture has one of these colours ("#rrggbb"), for drawings of few flat colours."""
    rgb = np.asarray(image.convert("RGB"), dtype=np.float32)
    palette = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in kept], dtype=np.float32)
    nearest = np.sqrt(((rgb[:, :, None] - palette) ** 2).sum(-1)).min(-1)
    return (1.0 - np.clip(2.0 - nearest / _KEEP_DISTANCE, 0.0, 1.0)).astype(np.float32)


def _channels(image: Image.Image) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Hue in degrees, saturation and value in [0, 1], and what is visible (bool)."""
    hsv = np.asarray(image.convert("RGB").convert("HSV"), dtype=np.float32)
    visible = np.asarray(image.getchannel("A")) > 128
    hue, saturation, value = np.moveaxis(hsv * np.array([360.0 / 256.0, 1 / 255.0, 1 / 255.0], np.float32), -1, 0)
    return hue, saturation, value, visible


def _main_hue(hue: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """The middle of the window of 25 degrees that holds most."""
    counts, _ = np.histogram(hue, bins=_HUE_BINS, range=(0.0, 360.0), weights=weight)
    window = sum(np.roll(counts, shift) for shift in range(-2, 3))
    return float((np.argmax(window) + 0.5) * 360.0 / _HUE_BINS)


def _colour_word(image: Image.Image, mask: NDArray[np.float32]) -> str:
    rgb = np.asarray(image.convert("RGB"))[mask > 0.5]
    median = Image.new("RGB", (1, 1), tuple(int(part) for part in np.median(rgb, axis=0)))
    hue, saturation, value = (float(channel[0, 0]) for channel in _channels(median.convert("RGBA"))[:3])
    if saturation < 0.16:
        return _gray_word(value)
    if value < 0.42 and saturation < 0.62 and 200.0 < hue < 340.0:
        return "black"  # drawn as a dark blue or violet
    warm = hue < 48.0 or hue > 340.0
    if warm and ((4.0 < hue < 48.0 and value < _BROWN_BELOW) or (saturation < 0.5 and value < 0.6) or value < 0.45):
        return "brown"
    word = next((word for end, word in _HUES if hue < end), _HUE_END)
    return "pink" if word == "red" and saturation < 0.62 and value > 0.75 else word


def _plain_word(saturation: NDArray[np.float32], value: NDArray[np.float32], visible: NDArray[np.bool_]) -> str | None:
    """white or black, if most of what is visible is."""
    plain = visible & (saturation < _SATURATED)
    for word, where in (("white", plain & (value > 0.85)), ("black", visible & (value < 0.36))):
        if where.sum() > _NATURAL_SHARE * visible.sum():
            return word
    return None


def _gray_word(value: float) -> str:
    return "white" if value > 0.85 else "black" if value < 0.3 else "gray"
