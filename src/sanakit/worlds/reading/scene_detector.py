"""Reading a picture back into a scene, without learned weights: what is where, in which colour, before what.

The starter's world is small and drawn from known sprites, so a picture can be explained by them. Pixels that
are not background give boxes (`propose_boxes`), each box is compared with every sprite in every colour
(`TemplateMatcher`), and the set of boxes without overlap that explains most of the picture is what was seen.
That settles by itself whether two regions are one object or two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sanakit.common.errors import ShapeError
from sanakit.worlds.reading.background_reader import BackgroundReading, read_background
from sanakit.worlds.reading.box_proposals import propose_boxes
from sanakit.worlds.reading.components import PixelBox
from sanakit.worlds.reading.template_matcher import TemplateMatcher
from sanakit.worlds.scenes.scene import Box
from sanakit.worlds.scenes.sprites import load_sprite_bank
from sanakit.worlds.scenes.vocabulary import ITEMS

_SIZE = 128  # pixels at which pictures are read
_SMOOTHING = 0.7  # pixels (standard deviation), against noise
_MIN_GAIN = 60_000.0  # squared RGB error, summed, that an object must explain: 25 pixels that differ by 50
_MAX_OVERLAP = 0.12  # share of the smaller of two boxes that both may cover
_MAX_BOXES = 16  # the best of the proposals are combined
_EDGE_STEPS = (-4, -2, -1, 1, 2, 4)  # pixels by which an edge of a box is tried elsewhere
_NUM_MOVES = 4  # of one edge each
_NUM_LIKELY = 40  # templates that are tried while a box is fitted
_NUM_FINALISTS = 24
_DISTANCE_CAP = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectedObject:
    """``colour`` is a word: the tint, or the nearest to the natural look (None where there is none).

    ``score`` is the share of the difference from the background that the sprite explains, at most 1.
    """

    name: str
    colour: str | None
    box: Box
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectedScene:
    """What a picture shows; ``background`` is None when it is like none of the known ones."""

    objects: tuple[DetectedObject, ...]
    background: str | None


class SceneDetector:
    """Explains square pictures by the sprites of a matcher's bank."""

    def __init__(self, matcher: TemplateMatcher) -> None:
        self._matcher = matcher

    def detect(self, picture: NDArray[np.uint8]) -> DetectedScene:
        """Read ``(size, size, 3)`` uint8 RGB; other sizes than 128 are resized first.

        Raises:
            ShapeError: the picture is not square RGB.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.shape[0] != picture.shape[1]:
            raise ShapeError(f"a picture of shape {picture.shape} cannot be read; it must be (size, size, 3)")
        image = Image.fromarray(picture)
        if image.size != (_SIZE, _SIZE):
            image = image.resize((_SIZE, _SIZE), Image.Resampling.BOX if image.width > _SIZE else None)
        smooth = image.filter(ImageFilter.GaussianBlur(_SMOOTHING))
        background = read_background(np.asarray(smooth, dtype=np.float32))
        boxes = self._choose(image, background, propose_boxes(background.distance, background.noise))
        objects = tuple(self._name(image, background, self._fit(image, background, box)) for box in boxes)
        return DetectedScene(objects=objects, background=background.name)

    def _choose(self, image: Image.Image, background: BackgroundReading, boxes: list[PixelBox]) -> list[PixelBox]:
        """The boxes that together explain most, none over another."""
        if not boxes:
            return []
        gains = self._matcher.gains(image, background.rows, boxes).max(0) - _MIN_GAIN
        best = [index for index in np.argsort(-gains)[:_MAX_BOXES] if gains[index] > 0]
        return _best_packing([(boxes[index], float(gains[index])) for index in best])[0]

    def _fit(self, image: Image.Image, background: BackgroundReading, box: PixelBox) -> PixelBox:
        """Move the edges of the box, one after another, to where some template explains more."""
        gains = self._matcher.gains(image, background.rows, [box])[:, 0]
        likely = np.argsort(-gains)[:_NUM_LIKELY]
        for _ in range(_NUM_MOVES):
            boxes = [box, *_neighbours(box)]
            best = int(self._matcher.gains(image, background.rows, boxes, likely).max(0).argmax())
            if best == 0:
                break
            box = boxes[best]
        return box

    def _name(self, image: Image.Image, background: BackgroundReading, box: PixelBox) -> DetectedObject:
        """Of the templates that explain most, the one that is nearest when no cell counts for too much."""
        gains = self._matcher.gains(image, background.rows, [box])[:, 0]
        finalists = np.argsort(-gains)[:_NUM_FINALISTS]
        errors = self._matcher.errors(image, background.rows, box, finalists, _DISTANCE_CAP)
        best = int(np.argmin(errors))
        template = self._matcher.templates[finalists[best]]
        region = background.distance[box.top : box.bottom, box.left : box.right]
        total = float(np.minimum(region, _DISTANCE_CAP).mean())
        return DetectedObject(
            name=template.name,
            colour=template.colour or ITEMS[template.name].natural,
            box=(box.left / _SIZE, box.top / _SIZE, box.right / _SIZE, box.bottom / _SIZE),
            score=1.0 - float(errors[best]) / max(total, 1e-6),
        )


@lru_cache(maxsize=1)
def load_scene_detector() -> SceneDetector:
    """The detector for the sprite bank that ships with the package; making the templates takes about a second."""
    return SceneDetector(TemplateMatcher(load_sprite_bank()))


def _best_packing(boxes: list[tuple[PixelBox, float]]) -> tuple[list[PixelBox], float]:
    """The boxes with the largest sum of gains of which no two overlap: take the first or leave it, and go on."""
    if not boxes:
        return [], 0.0
    (first, gain), rest = boxes[0], boxes[1:]
    free = [(box, value) for box, value in rest if first.overlap(box) <= _MAX_OVERLAP * min(first.area, box.area)]
    taken, taken_gain = _best_packing(free)
    if len(free) == len(rest):
        return [first, *taken], gain + taken_gain
    left, left_gain = _best_packing(rest)
    return ([first, *taken], gain + taken_gain) if gain + taken_gain >= left_gain else (left, left_gain)


def _neighbours(box: PixelBox) -> list[PixelBox]:
    moved = [box._replace(**{edge: getattr(box, edge) + step}) for edge in PixelBox._fields for step in _EDGE_STEPS]
    return [b for b in moved if b.width >= 6 and b.height >= 6 and min(b) >= 0 and max(b) <= _SIZE]
