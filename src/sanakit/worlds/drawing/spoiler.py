"""Spoiling things of a scene while it is painted."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator
from PIL import Image

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Thing
from sanakit.worlds.drawing.compose import pixel_box
from sanakit.worlds.drawing.looks import draw_look
from sanakit.worlds.drawing.spoiled import SPOILINGS, Spoiling, can_be_spoiled, is_changed, spoil
from sanakit.worlds.sampling.casting import pick, stock_of
from sanakit.worlds.scenes.description import Box, Scene

_VISIBLE = 16  # of alpha, from which on something is seen


class Spoiler:
    """For `compose` (``alter``): spoils each thing with a probability, in one of some ways.

    ``boxes`` says which were spoiled, by their number, and where something of them is seen; a thing on which the
    spoiling would hardly show stays as it is.
    """

    def __init__(
        self,
        scene: Scene,
        bank: Bank,
        rng: Generator,
        *,
        share: float = 1.0,
        size: int = 128,
        ways: Sequence[Spoiling] = SPOILINGS,
    ) -> None:
        self.boxes: dict[int, Box] = {}
        self._scene, self._bank, self._rng = scene, bank, rng
        self._share, self._size, self._ways = share, size, ways

    def __call__(self, number: int, drawing: Image.Image) -> Image.Image:
        if self._rng.random() >= self._share:
            return drawing
        thing = self._bank.things.get(self._scene.objects[number].name)
        group = thing.group if thing is not None else "person"
        ways = [way for way in self._ways if can_be_spoiled(group, way)]
        if not ways:
            return drawing
        how = pick(ways, self._rng)
        other = self._other(thing, drawing.size) if how == "mixed" else drawing
        changed = spoil(drawing, how, self._rng, other)
        if not is_changed(drawing, changed):
            return drawing
        self.boxes[number] = self._seen(number, changed)
        return changed

    def _other(self, thing: Thing | None, size: tuple[int, int]) -> Image.Image:
        """Another thing of the bank, drawn in that size."""
        names = [name for name in stock_of(self._bank).names if thing is None or name != thing.name]
        look = pick(self._bank.things[pick(names, self._rng)].looks, self._rng)
        return draw_look(look, pick(look.views, self._rng), None, self._bank, size)

    def _seen(self, number: int, drawing: Image.Image) -> Box:
        left, top, _, _ = pixel_box(self._scene.objects[number].box, self._size)
        mask = drawing.getchannel("A").point(lambda level: 255 if level > _VISIBLE else 0)
        x1, y1, x2, y2 = mask.getbbox() or (0, 0, *drawing.size)
        return (left + x1) / self._size, (top + y1) / self._size, (left + x2) / self._size, (top + y2) / self._size
