"""The reader of the worlds as a judge: the prompt becomes a scene, the picture another, and both are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.scoring.judges.judge import Score
from sanakit.scoring.named import NamedReader
from sanakit.worlds.reading.asked_scene import AskedScenes
from sanakit.worlds.reading.judge import how_seen, judge
from sanakit.worlds.reading.read_scene import ReadScene
from sanakit.worlds.scenes.description import Scene


class WorldJudge:
    """A score is whether all is right, the share of the asked questions that are, and how sure the things are seen.

    Args:
        words: of the model whose pictures are judged, as its ``words.json`` lists them.
    """

    def __init__(self, reader: NamedReader, words: Mapping[str, Any]) -> None:
        self.reader, self.asked = reader, AskedScenes(words)
        self.name, self.weights_hash, self.resize_rule = reader.name, reader.weights_hash, reader.resize_rule

    def check(self, text: str) -> None:
        """Raises RequestError where the text names nothing that the reader could look for."""
        self._scene(text)

    def __call__(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Score]:
        scenes = {text: self._scene(text) for text in dict.fromkeys(texts)}
        pairs = zip(images, texts, strict=True)
        return [_score(scenes[text], self.reader.read(np.asarray(image.convert("RGB")))) for image, text in pairs]

    def _scene(self, text: str) -> Scene:
        scene = self.asked.read(text)
        if scene is None:
            raise RequestError(f"the judge {self.name} knows no thing of the prompt {text!r}; choose another judge")
        return scene


def _score(scene: Scene, read: ReadScene) -> Score:
    verdict = judge(scene, read)
    answers = [answer for name, answer in verdict.answers().items() if name != "all_right"]
    return float(verdict.all_right), fmean(answers), fmean(how_seen(scene, read))
