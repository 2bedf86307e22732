"""Motion: how well a reader reads it in true clips and in wrong ones, and how often a model's clips are right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.common.seeds import image_seed
from sanakit.evaluation.drawing import DrawClips
from sanakit.evaluation.reports.report import Measurement, Report, Setting, mean_of, use_of
from sanakit.scoring.named import NamedReader
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.moving.paths import set_in_motion
from sanakit.worlds.reading.judge_clip import ClipVerdict, judge_clip
from sanakit.worlds.reading.read_clip import ReadClip, joined, read_clip
from sanakit.worlds.reading.read_scene import ReadScene
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.captions import canonical_caption
from sanakit.worlds.telling.wrong_captions import wrong_motions, wrong_words
from sanakit.worlds.world_scenes import WorldScenes

PROTOCOL = (
    "Scenes with at least one held-out pairing, of which some stand still; every frame is read, about 8 a second of "
    "clips that have more, and things are followed over time. things, motion, speed, ground ...: answers as the judge "
    "gives them, of clips that ask; motion: each thing does what it should, or stands still where nothing is said. "
    "object and motion: both. "
)
_READ = (
    "motion, ...: of the things that are read, those that are seen to do it. passes: clips in which something moves "
    "are judged as object and motion right although they are its last frame as a still, run backwards (where that is "
    "another motion), or are asked for with another thing, motion or speed. "
)
_DRAWN = (
    "motion, ...: object and motion, of clips whose things do that; one thing: of clips of one. true: the same answer "
    "on composed clips of the same scenes, the reader's ceiling. "
)
_INTERVALS = "Intervals: 95 %, percentile bootstrap."
_UNREAD = "not read"

Frames = NDArray[np.uint8]
Keep = Callable[[Frames, Frames], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clips:
    """What is asked for: held-out scenes of a bank in motion, as true clips have them."""

    bank: Bank
    num: int
    seed: int
    size: int = 96
    num_frames: int = 17
    fps: float = 8.0
    through: Callable[[Frames], Frames] | None = None  # what true clips go through before they are read

    def __post_init__(self) -> None:
        if self.num < 1 or self.num_frames < 3 or not self.fps > 0:
            raise ConfigError(
                f"num={self.num}, num_frames={self.num_frames} and fps={self.fps} leave nothing to see; give at least "
                f"1 clip of 3 frames, and a rate above 0"
            )

    def scenes(self) -> Iterator[Scene]:
        """With their paths."""
        scenes = WorldScenes(self.bank, "heldout", self.seed, moving=True)
        for index in range(self.num):
            rng = np.random.default_rng((self.seed, index))
            scene = scenes.truth(index)[0]
            yield set_in_motion(scene, rng, self.bank, num_frames=self.num_frames, fps=self.fps)

    def paint(self, scene: Scene) -> Frames:
        if scene.num_frames == 1:
            frames = np.repeat(compose(scene, self.bank, self.size)[None], self.num_frames, axis=0)
        else:
            frames = np.stack([compose(scene, self.bank, self.size, frame) for frame in range(self.num_frames)])
        return frames if self.through is None else self.through(frames)

    @property
    def facts(self) -> dict[str, Any]:
        bank = {"bank": self.bank.name, "names": len(self.bank.things), "hash of the bank": self.bank.hash[:10]}
        return {"clips": self.num, **bank, "size": self.size, "frames": self.num_frames, "fps": self.fps}


@dataclass(slots=True)
class _Tally:
    answers: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    confused: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def take(self, verdict: ClipVerdict, of: str = "") -> None:
        for name, answer in verdict.answers().items():
            self.answers[of + name.replace("_", " ")].append(answer)
        self.answers[f"{of}object and motion"].append(verdict.moves_right)

    def measurements(self, seed: int) -> tuple[Measurement, ...]:
        rows = sorted(self.answers.items(), key=lambda row: (row[0].startswith("passes"), ", " in row[0]))
        found = (mean_of(name, answers, seed=seed) for name, answers in rows)
        return tuple(replace(each, better="lower") if "passes" in each.name else each for each in found)


def motion_reading_report(
    reader: NamedReader,
    clips: Clips,
    *,
    settings: Mapping[str, Setting] | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """How well a reader reads true clips and wrong ones, with the confusion of motions."""
    tally = _Tally()
    for index, scene in enumerate(clips.scenes()):
        frames = clips.paint(scene)
        reads = _read_each(reader, frames)
        read = joined(reads, frames, clips.fps)
        tally.take(judge_clip(scene, read))
        _count_motions(tally, scene, read)
        if any(thing.motion is not None for thing in scene.objects):
            _count_wrong(tally, scene, clips, read, np.random.default_rng((clips.seed, index)))
            frozen = joined([reads[-1]] * len(reads), np.stack([frames[-1]] * len(frames)), clips.fps)
            backwards = joined(reads[::-1], frames[::-1], clips.fps)
            tally.answers["passes: a still"].append(judge_clip(scene, frozen).moves_right)
            if _has_a_direction(scene):
                tally.answers["passes: backwards"].append(judge_clip(scene, backwards).moves_right)
        on_progress(index + 1, clips.num, "reading")
    return _report("What a reader reads of motion", _READ, tally, reader, clips, settings or {})


def motion_report(
    draw: DrawClips,
    reader: NamedReader,
    clips: Clips,
    *,
    settings: Mapping[str, Setting],
    keep: Keep | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """How often clips of held-out prompts in motion are right; clip ``i`` has the seed ``image_seed(seed, i)``.

    Args:
        settings: what made the clips; written into the report as it is.
        keep: is given each drawn clip, and the true one of the same scene.
    """
    tally, lines = _Tally(), []
    for index, scene in enumerate(clips.scenes()):
        prompt, seed = canonical_caption(scene, clips.bank), image_seed(clips.seed, index)
        ((frames, fps),) = draw([prompt], [seed])
        painted = clips.paint(scene)
        read = read_clip(reader, frames, fps)
        verdict, true = judge_clip(scene, read), judge_clip(scene, read_clip(reader, painted, clips.fps))
        if keep is not None:
            keep(frames, painted)
        tally.take(verdict)
        if scene.kind == "single":
            tally.answers["object and motion, one thing"].append(verdict.moves_right)
        for kind in sorted({thing.motion.kind if thing.motion else "still" for thing in scene.objects}):
            tally.answers[f"motion, {kind}"].append(verdict.moves_right)
        tally.take(true, of="true: ")
        lines.append(
            {
                "prompt": prompt,
                "seed": seed,
                "answers": verdict.answers(),
                "read": [thing.words for thing in read.things],
            }
        )
        on_progress(index + 1, clips.num, "drawing and reading")
    report = _report("Motion of a model's clips", _DRAWN, tally, reader, clips, settings)
    return replace(report, details={"clips": lines})


def _report(
    title: str, protocol: str, tally: _Tally, reader: NamedReader, clips: Clips, settings: Mapping[str, Setting]
) -> Report:
    return Report(
        title=title,
        protocol=PROTOCOL + protocol + _INTERVALS,
        measurements=tally.measurements(clips.seed),
        seed=clips.seed,
        inputs=clips.facts,
        settings=settings,
        networks=(use_of(reader),),
        details={"confusion": {asked: dict(seen.most_common()) for asked, seen in tally.confused.items()}},
    )


def _read_each(reader: NamedReader, frames: Frames) -> list[ReadScene]:
    """What stands still is read once."""
    if (frames == frames[0]).all():
        return [reader.read(frames[0])] * len(frames)
    return [reader.read(frame) for frame in frames]


def _count_motions(tally: _Tally, scene: Scene, read: ReadClip) -> None:
    """By name of a thing, once for things alike."""
    for name, motion in {thing.name: thing.motion for thing in scene.objects}.items():
        asked = motion.kind if motion else "still"
        seen = Counter(
            thing.motion.kind if thing.motion else "still" for thing in read.things if thing.name == name
        ).most_common(1)
        shown = seen[0][0] if seen else _UNREAD
        tally.confused[asked][shown] += 1
        if shown != _UNREAD:
            tally.answers[f"motion, {asked}"].append(shown == asked)


def _count_wrong(tally: _Tally, scene: Scene, clips: Clips, read: ReadClip, rng: np.random.Generator) -> None:
    """The true clip, judged by the scene with something else asked for."""
    other = wrong_words(scene, rng, "thing", clips.bank)
    if other is not None:
        tally.answers["passes: another thing"].append(judge_clip(other, read).moves_right)
    for kind, wrong in wrong_motions(scene).items():
        verdict = judge_clip(wrong, read)
        if kind == "motion":
            tally.answers["passes: another motion"].append(verdict.moves_right)
        elif verdict.speed is not None:
            tally.answers["passes: another speed"].append(verdict.moves_right and verdict.speed)


def _has_a_direction(scene: Scene) -> bool:
    return all(thing.motion is None or thing.motion.kind not in ("turning", "bouncing") for thing in scene.objects)
