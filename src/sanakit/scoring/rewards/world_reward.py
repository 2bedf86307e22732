"""The reader of the worlds as a reward: every question of a scene is a part of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from sanakit.scoring.named import NamedReader
from sanakit.scoring.rewards.reward import Metadata, Rewarded
from sanakit.worlds.reading.asked_scene import AskedScenes
from sanakit.worlds.reading.judge import how_seen, judge
from sanakit.worlds.reading.read_scene import ReadScene
from sanakit.worlds.scenes.description import Scene, scene_from_json

PARTS = ("things", "count", "colour", "relation", "ground", "place", "all_right", "seen")


class OfScenes:
    """A reader that is asked for a scene: that of the metadata, or else what the words of the prompt ask for.

    Args:
        words: of the model whose pictures or clips are read, as its ``words.json`` lists them.
    """

    def __init__(self, reader: NamedReader, words: Mapping[str, Any]) -> None:
        self.reader, self._asked = reader, AskedScenes(words)
        self.weights_hash, self.resize_rule = reader.weights_hash, reader.resize_rule

    def fits(self, prompt: str, known: Metadata) -> bool:
        """Whether it asks for a thing."""
        return self._scene(prompt, known) is not None

    def _scene(self, prompt: str, known: Metadata) -> Scene | None:
        return scene_from_json(known["scene"]) if "scene" in known else self._asked.read(prompt)


class WorldReward(OfScenes):
    """Parts are the answers of a verdict, 1 or 0, and ``seen``, how surely the things that are asked for are seen."""

    name = "reader"
    weights: Mapping[str, float] = {**dict.fromkeys(PARTS, 1.0), "all_right": 2.0}

    def __call__(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]
    ) -> Rewarded:
        rows, facts = [], []
        for picture, prompt, known in zip(pictures, prompts, metadata, strict=True):
            scene, read = self._scene(prompt, known), self.reader.read(np.asarray(picture.convert("RGB")))
            rows.append({} if scene is None else _marks(scene, read))
            facts.append({"read": [f"{thing.colour or ''} {thing.name or '?'}".strip() for thing in read.objects]})
        return Rewarded({part: [row.get(part) for row in rows] for part in PARTS}, facts)


def _marks(scene: Scene, read: ReadScene) -> dict[str, float]:
    answers = {name: float(answer) for name, answer in judge(scene, read).answers().items()}
    return {**answers, "seen": float(np.mean(how_seen(scene, read)))}
