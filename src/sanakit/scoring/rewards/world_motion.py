"""The reader of the worlds over time as a reward of clips: every question of a scene in motion is a part of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sanakit.scoring.named import NamedReader
from sanakit.scoring.rewards.reward import Clip, Metadata, Rewarded
from sanakit.worlds.reading.asked_scene import AskedScenes
from sanakit.worlds.reading.judge_clip import judge_clip
from sanakit.worlds.reading.read_clip import read_clip
from sanakit.worlds.scenes.description import Scene, scene_from_json

PARTS = ("things", "count", "colour", "relation", "ground", "place", "motion", "speed", "all_right")


class WorldMotion:
    """Parts are the answers of a `ClipVerdict`, 1 or 0.

    The scene is that of the metadata, or else what the words of the prompt ask for.

    Args:
        words: of the model whose clips are read, as its ``words.json`` lists them.
    """

    name = "motion"
    of_clips = True
    weights: Mapping[str, float] = {**dict.fromkeys(PARTS, 1.0), "motion": 2.0, "all_right": 2.0}

    def __init__(self, reader: NamedReader, words: Mapping[str, Any]) -> None:
        self.reader, self._asked = reader, AskedScenes(words)
        self.weights_hash, self.resize_rule = reader.weights_hash, reader.resize_rule

    def fits(self, prompt: str, known: Metadata) -> bool:
        """Whether it asks for a thing."""
        return self._scene(prompt, known) is not None

    def __call__(self, clips: Sequence[Clip], prompts: Sequence[str], metadata: Sequence[Metadata]) -> Rewarded:
        rows, facts = [], []
        for clip, prompt, known in zip(clips, prompts, metadata, strict=True):
            scene, read = self._scene(prompt, known), read_clip(self.reader, clip.frames, clip.fps)
            answers = {} if scene is None else judge_clip(scene, read).answers()
            rows.append({name: float(answer) for name, answer in answers.items()})
            facts.append({"read": [thing.words for thing in read.things]})
        return Rewarded({part: [row.get(part) for row in rows] for part in PARTS}, facts)

    def _scene(self, prompt: str, known: Metadata) -> Scene | None:
        return scene_from_json(known["scene"]) if "scene" in known else self._asked.read(prompt)
