"""What is behind the objects: plain, graded and simply drawn grounds, and views into a panorama."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.backgrounds import background_image
from sanakit.worlds.scenes.description import Camera, Ground
from sanakit.worlds.scenes.vocabulary import PLAIN_BACKGROUNDS


def draw_ground(ground: Ground, camera: Camera, bank: Bank, size: int) -> Image.Image:
    """A new RGB picture of ``size`` pixels a side."""
    match ground.kind:
        case "plain":
            return Image.new("RGB", (size, size), PLAIN_BACKGROUNDS[ground.name])
        case "graded":
            return _graded(ground.name, size).copy()
        case "drawn":
            return background_image(ground.name, size).copy()
        case "place":
            panorama = np.asarray(bank.panorama(bank.places[ground.name]))
            return Image.fromarray(look_into(panorama, camera, size))


@lru_cache(maxsize=64)
def _graded(names: str, size: int) -> Image.Image:
    top, bottom = (np.array(PLAIN_BACKGROUNDS[name], dtype=np.float32) for name in names.split())
    down = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    rows = (top * (1 - down) + bottom * down + 0.5).astype(np.uint8)  # (size, 3)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(rows[:, None], (size, size, 3))))


def look_into(panorama: NDArray[np.uint8], camera: Camera, size: int) -> NDArray[np.uint8]:
    """The perspective view of an equirectangular ``(H, W, 3)`` panorama, ``(size, size, 3)`` uint8, bilinear.

    The columns of the panorama run from yaw -180 to 180, its rows from straight up to straight down. The yaw is taken
    to the nearest column, so that all views with one tilt share their table.
    """
    height, width = panorama.shape[:2]
    columns, rows, weights = _rays(camera.down, camera.view_angle, size, height, width)
    turned = columns + round(camera.yaw / 360 * width)
    left, right = turned % width, (turned + 1) % width
    above, below = rows * width, np.minimum(rows + 1, height - 1) * width
    flat = panorama.reshape(-1, 3)
    corners = (above + left, above + right, below + left, below + right)
    total = sum(flat[corner] * weight for corner, weight in zip(corners, weights, strict=True))
    return (np.asarray(total) + np.float32(0.5)).astype(np.uint8).reshape(size, size, 3)


@lru_cache(maxsize=64)
def _rays(
    down: float, view_angle: float, size: int, height: int, width: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Columns and rows ``(size * size,)`` of the upper left corner, and weights ``(4, size * size, 1)`` of all four."""
    steps = ((np.arange(size) + 0.5) / size * 2 - 1) * np.tan(np.radians(view_angle / 2))
    x, y = np.meshgrid(steps, steps)
    tilt = np.radians(down)
    forward, drop = np.cos(tilt) - y * np.sin(tilt), np.sin(tilt) + y * np.cos(tilt)
    longitude = np.arctan2(x, forward).ravel()
    latitude = np.arctan2(drop, np.hypot(x, forward)).ravel()  # down is positive
    column = (longitude / (2 * np.pi) + 0.5) * width - 0.5
    row = np.clip((latitude / np.pi + 0.5) * height - 0.5, 0, height - 1)
    left, above = np.floor(column), np.floor(row)
    across, along = column - left, row - above
    weights = ((1 - across) * (1 - along), across * (1 - along), (1 - across) * along, across * along)
    return left.astype(np.intp), above.astype(np.intp), np.stack(weights).astype(np.float32)[..., None]
