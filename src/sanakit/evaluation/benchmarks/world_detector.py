"""A reader of the worlds behind GenEval's rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from sanakit.scoring.detecting.geneval_rules import SeenObject
from sanakit.scoring.named import NamedReader


class WorldDetector:
    """What a reader names; what it is not sure of it leaves out by itself, so there is no threshold here."""

    protocol = "Objects and colours are what the recogniser of the worlds reads; its own errors are not taken off."

    def __init__(self, reader: NamedReader) -> None:
        self.reader = reader
        self.name, self.weights_hash, self.resize_rule = reader.name, reader.weights_hash, reader.resize_rule

    def detect(self, image: Image.Image, *, counting: bool) -> list[SeenObject]:
        side = max(image.size)
        canvas = Image.new("RGB", (side, side), (255, 255, 255))  # a picture that is not square stands on white
        canvas.paste(image.convert("RGB"), ((side - image.width) // 2, (side - image.height) // 2))
        seen = self.reader.read(np.asarray(canvas))
        return [
            SeenObject(name=thing.name, confidence=thing.score, box=thing.box, colour=thing.colour)
            for thing in seen.objects
            if thing.name is not None
        ]

    def colours(self, image: Image.Image, objects: Sequence[SeenObject]) -> list[str | None]:
        return [thing.colour for thing in objects]
