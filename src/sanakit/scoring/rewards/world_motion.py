"""The reader of the worlds over time as a reward of clips: every question of a scene in motion is a part of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sanakit.scoring.rewards.reward import Clip, Metadata, Rewarded
from sanakit.scoring.rewards.world_reward import OfScenes
from sanakit.worlds.reading.judge_clip import judge_clip
from sanakit.worlds.reading.read_clip import read_clip

PARTS = ("things", "count", "colour", "relation", "ground", "place", "motion", "speed", "all_right")


class WorldMotion(OfScenes):
    """Parts are the answers of a `ClipVerdict`, 1 or 0."""

    name = "motion"
    of_clips = True
    weights: Mapping[str, float] = {**dict.fromkeys(PARTS, 1.0), "motion": 2.0, "all_right": 2.0}

    def __call__(self, clips: Sequence[Clip], prompts: Sequence[str], metadata: Sequence[Metadata]) -> Rewarded:
        rows, facts = [], []
        for clip, prompt, known in zip(clips, prompts, metadata, strict=True):
            scene, read = self._scene(prompt, known), read_clip(self.reader, clip.frames, clip.fps)
            answers = {} if scene is None else judge_clip(scene, read).answers()
            rows.append({name: float(answer) for name, answer in answers.items()})
            facts.append({"read": [thing.words for thing in read.things]})
        return Rewarded({part: [row.get(part) for row in rows] for part in PARTS}, facts)
