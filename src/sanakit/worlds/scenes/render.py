"""Painting a scene: backgrounds, and sprites laid over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.worlds.drawing.backgrounds import background_image
from sanakit.worlds.drawing.compose import pixel_box
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.sprites import SpriteBank


def render(scene: Scene, bank: SpriteBank, size: int = 128) -> NDArray[np.uint8]:
    """The picture of a scene, ``(size, size, 3)`` uint8 RGB."""
    canvas = background_image(scene.background, size).copy()
    for thing in scene.objects:
        left, top, right, bottom = pixel_box(thing.box, size)
        sprite = bank.image(thing.name, thing.colour)
        # Pillow premultiplies RGBA while resizing, so edges keep their own colour.
        sprite = sprite.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
        canvas.paste(sprite, (left, top), sprite)
    return np.asarray(canvas)
