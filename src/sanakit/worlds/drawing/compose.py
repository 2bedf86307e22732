"""Painting a scene in any size and frame, and the masks of what is where."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.grounds import draw_ground
from sanakit.worlds.drawing.looks import draw_look, draw_shadow, look_of
from sanakit.worlds.scenes.description import Box, Scene, SceneObject


class TruthMaps(NamedTuple):
    """Where the objects of a scene are, in the order of the scene.

    ``whole`` and ``visible`` are alpha ``(objects, size, size)`` uint8, without and with what stands before them.
    """

    whole: NDArray[np.uint8]
    visible: NDArray[np.uint8]


Alter = Callable[[int, Image.Image], Image.Image]
"""The number of an object in its scene and its drawing, RGBA, to another drawing of the same size."""


def compose(
    scene: Scene, bank: Bank, size: int = 128, frame: int = 0, *, alter: Alter | None = None
) -> NDArray[np.uint8]:
    """The picture of a scene in one frame, ``(size, size, 3)`` uint8 RGB; the same input gives the same bytes.

    Args:
        alter: changes drawings before they are pasted, for pictures of which a reader must not be sure.
    """
    canvas = draw_ground(scene.ground, scene.camera_at(frame), bank, size)
    for number in scene.farthest_first():
        thing = scene.objects[number]
        if not thing.at(frame).seen:
            continue
        image, place = _drawn(thing, bank, size, frame)
        image = image if alter is None else alter(number, image)
        if thing.shadow:
            view = look_of(thing, bank).views[thing.at(frame).view]
            draw_shadow(canvas, image.getchannel("A"), place, view.pitch)
        canvas.paste(image, place, image)
    return np.asarray(canvas)


def truth_maps(scene: Scene, bank: Bank, size: int = 128, frame: int = 0) -> TruthMaps:
    """The masks of all objects; shadows belong to none."""
    whole = np.zeros((scene.count, size, size), dtype=np.uint8)
    for number, thing in enumerate(scene.objects):
        if not thing.at(frame).seen:
            continue
        image, place = _drawn(thing, bank, size, frame)
        mask = Image.new("L", (size, size))
        mask.paste(image.getchannel("A"), place)
        whole[number] = np.asarray(mask)
    visible, free = np.zeros_like(whole), np.ones((size, size), dtype=np.float32)
    for number in reversed(list(scene.farthest_first())):
        visible[number] = (whole[number] * free + 0.5).astype(np.uint8)
        free *= 1 - whole[number] / np.float32(255)
    return TruthMaps(whole, visible)


def pixel_box(box: Box, size: int) -> tuple[int, int, int, int]:
    """The box in whole pixels, at least one wide and high."""
    left, top, right, bottom = (round(edge * size) for edge in box)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _drawn(thing: SceneObject, bank: Bank, size: int, frame: int) -> tuple[Image.Image, tuple[int, int]]:
    """The picture of an object, RGBA, and where its upper left corner goes."""
    pose, look = thing.at(frame), look_of(thing, bank)
    left, top, right, bottom = pixel_box(pose.box, size)
    extent = (right - left, bottom - top)
    return draw_look(look, look.views[pose.view], thing.colour, bank, extent), (left, top)
