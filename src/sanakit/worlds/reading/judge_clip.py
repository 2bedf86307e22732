"""Whether a clip shows what a scene in motion asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sanakit.worlds.moving.paths import room_of, speed_fits
from sanakit.worlds.reading.judge import Verdict, judge
from sanakit.worlds.reading.read_clip import ReadClip, ReadThing
from sanakit.worlds.scenes.description import Motion, MotionKind, Scene, SceneObject


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipVerdict:
    """Answers; None is a question that the scene does not ask.

    Attributes:
        still: those of a picture, of the clip as a whole.
        motion: each thing does what the scene says, and stands still where that says nothing; of things alike most do.
        speed: what moves as it should and has a word for its speed is as quick as that. It is not told of what turns
            or appears.
    """

    still: Verdict
    motion: bool
    speed: bool | None

    @property
    def moves_right(self) -> bool:
        """Things and motion are right, whatever the rest is."""
        return self.still.things and self.motion

    @property
    def all_right(self) -> bool:
        return self.still.all_right and self.motion and self.speed is not False

    def answers(self) -> dict[str, bool]:
        """The questions that were asked, "all_right" last."""
        asked = {**self.still.answers(), "motion": self.motion}
        del asked["all_right"]
        return asked | ({} if self.speed is None else {"speed": self.speed}) | {"all_right": self.all_right}


def judge_clip(scene: Scene, read: ReadClip) -> ClipVerdict:
    """Compare what was asked for with what was read of a clip; see `judge` for what is of pictures too."""
    right, speeds = True, list[bool]()
    for name in {thing.name for thing in scene.objects}:
        asked = next(thing for thing in scene.objects if thing.name == name)
        seen = [thing for thing in read.things if thing.name == name]
        kind = asked.motion.kind if asked.motion else None
        if not seen or _shown(seen) != kind:
            right = False
        elif asked.motion is not None:
            speeds += _speeds(asked, asked.motion, seen, scene, read.seconds)
    return ClipVerdict(still=judge(scene, read.still), motion=right, speed=all(speeds) if speeds else None)


def _shown(seen: list[ReadThing]) -> MotionKind | None:
    """What most of them do."""
    return Counter(thing.motion.kind if thing.motion else None for thing in seen).most_common(1)[0][0]


def _speeds(asked: SceneObject, motion: Motion, seen: list[ReadThing], scene: Scene, seconds: float) -> list[bool]:
    """Whether most are as quick as the word says; () without a word, or where it is not told."""
    rates = [each.rate for each in seen if each.motion and each.motion.kind == motion.kind and each.rate is not None]
    if motion.speed is None or not rates:
        return []
    middle = sorted(rates)[len(rates) // 2]
    return [speed_fits(motion, middle, seconds=seconds, room=room_of(asked, scene))]
