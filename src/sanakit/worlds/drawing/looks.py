"""One picture of a thing at the size in which it is drawn, in its own colour or another, and its shadow."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Look, View
from sanakit.worlds.scenes.description import SceneObject
from sanakit.worlds.scenes.tint import recolour

_SHADOW_STRENGTH = 0.42
_MIN_PITCH = 14.0  # degrees: what is seen level still casts a shadow that can be seen


def look_of(thing: SceneObject, bank: Bank) -> Look:
    """The look that a scene names: of the thing, or of a person who is called like a thing (a potted plant)."""
    if (look := bank.look(thing.name, thing.look)) is not None:
        return look
    person = bank.person(thing.look)
    assert person is not None, f"the bank has no look {thing.look!r}"
    return person.look


def draw_look(look: Look, view: View, colour: str | None, bank: Bank, size: tuple[int, int]) -> Image.Image:
    """RGBA of ``size`` (width, height), straight alpha.

    It is tinted at this size, where it costs least; a colour that is the look's own leaves it as it is.
    """
    # Pillow premultiplies RGBA while resizing, so edges keep their own colour.
    image = bank.image(view).resize(size, Image.Resampling.BICUBIC)
    mask = bank.tint_mask(view) if colour is not None and colour != look.natural else None
    if colour is None or mask is None:
        return image
    material = np.asarray(mask.resize(size, Image.Resampling.BILINEAR), dtype=np.float32) / 255.0
    return Image.fromarray(recolour(np.asarray(image), material, colour))


def draw_shadow(canvas: Image.Image, alpha: Image.Image, place: tuple[int, int], pitch: float) -> None:
    """Darken the ground under an object: its own outline laid flat, soft, darkest below it.

    Args:
        canvas: RGB, changed in place.
        alpha: gray, the object as it is drawn.
        place: left and top of the object in pixels.
        pitch: degrees from which it is seen; the flatter, the thinner its shadow.
    """
    width, height = alpha.size
    flat = math.sin(math.radians(max(pitch, _MIN_PITCH)))
    depth = max(2, round(min(0.62 * width * flat, 0.5 * height)))
    soft = max(1.0, 0.03 * width)
    margin = math.ceil(2 * soft)
    blob = Image.new("L", (width + 2 * margin, depth + 2 * margin))
    blob.paste(alpha.resize((width, depth), Image.Resampling.BOX), (margin, margin))
    blob = blob.filter(ImageFilter.BoxBlur(soft)).point(_FADE)
    top = place[1] + height - round(0.80 * depth) - margin
    canvas.paste((16, 16, 22), (place[0] - margin, top), blob)


_FADE = [round(value * _SHADOW_STRENGTH) for value in range(256)]
