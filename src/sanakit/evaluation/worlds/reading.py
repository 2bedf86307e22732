"""How well a reader reads: true pictures first, then wrong scenes and spoiled drawings, which must not pass."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sanakit.common.errors import ConfigError
from sanakit.evaluation.reports.report import Measurement, Report, mean_of
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.drawing.spoiled import SPOILINGS, Spoiling
from sanakit.worlds.drawing.spoiler import Spoiler
from sanakit.worlds.reading.judge import judge
from sanakit.worlds.reading.read_scene import Reader, ReadObject, ReadScene
from sanakit.worlds.scenes.description import Box, Scene, overlap
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, shown_colour, wrong_words
from sanakit.worlds.world_scenes import WorldScenes

PROTOCOL = (
    "Composed scenes with at least one held-out pairing. found: things whose box is read with at least half of the "
    "union in common; named, coloured: of those that are found, the colour of those that are named and have a colour. "
    "Answers as the judge gives them, of scenes that ask. wrong ...: the same pictures judged by the scene with one "
    "word changed, which must not pass as all right. spoiled ...: things of which the drawing is spoiled and the name "
    "is read all the same. Intervals: 95 %, percentile bootstrap."
)
_JUDGED_WORDS = tuple(word for word in WRONG_WORDS if word not in ("view", "size"))
_FOUND = 0.5  # of the union of two boxes that they have in common
_NUM_CONFUSED = 40  # rows of the confusion


@dataclass(slots=True)
class _Tally:
    """Answers by question, and which names were taken for which."""

    answers: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    named: Counter[tuple[str, bool]] = field(default_factory=Counter)
    confused: Counter[tuple[str, str]] = field(default_factory=Counter)


def reading_report(reader: Reader, bank: Bank, *, num_scenes: int, seed: int) -> Report:
    """Read ``num_scenes`` held-out scenes as they are, and as many again for each way of spoiling them.

    Raises:
        ConfigError: there is nothing to read.
    """
    if num_scenes < 1:
        raise ConfigError(f"num_scenes={num_scenes} must be at least 1")
    scenes, tally = WorldScenes(bank, "heldout", seed), _Tally()
    for index in range(num_scenes):
        sample = scenes.sample(index)
        read = reader.read(sample.image)
        _count_true(tally, sample.scene, read, bank)
        _count_wrong(tally, sample.scene, read, bank, np.random.default_rng((seed, index)))
    for done, way in enumerate(SPOILINGS, start=1):
        for index in range(num_scenes):
            rng = np.random.default_rng((seed, index, done))
            _count_spoiled(tally, scenes.truth(index)[0], way, reader, bank, rng)
    return Report(
        title="What a reader reads",
        protocol=PROTOCOL,
        measurements=tuple(_measurement(name, answers, seed) for name, answers in tally.answers.items()),
        seed=seed,
        inputs={"scenes": num_scenes, "bank": bank.name, "names": len(bank.things), "hash of the bank": bank.hash[:10]},
        settings={},
        details={"confusion": _confusion(tally), "hardest": _hardest(tally)},
    )


def _count_true(tally: _Tally, scene: Scene, read: ReadScene, bank: Bank) -> None:
    for thing in scene.objects:
        seen = _nearest(read, thing.box)
        tally.answers["found"].append(seen is not None)
        if seen is None:
            continue
        right = seen.name == thing.name
        tally.answers["named"].append(right)
        tally.named[thing.name, right] += 1
        if not right:
            tally.confused[thing.name, seen.name or "something unknown"] += 1
        colour = shown_colour(thing, bank)
        if right and colour is not None:
            tally.answers["coloured"].append(seen.colour == colour)
    for name, answer in judge(scene, read).answers().items():
        tally.answers[name.replace("_", " ")].append(answer)
    if scene.relation is not None:
        tally.answers[f"relation, {scene.relation}"].append(bool(judge(scene, read).relation))


def _count_wrong(tally: _Tally, scene: Scene, read: ReadScene, bank: Bank, rng: np.random.Generator) -> None:
    for word in _JUDGED_WORDS:
        other = wrong_words(scene, rng, word, bank)
        if other is not None:
            tally.answers[f"wrong {word}"].append(judge(other, read).all_right)


def _count_spoiled(
    tally: _Tally, scene: Scene, way: Spoiling, reader: Reader, bank: Bank, rng: np.random.Generator
) -> None:
    spoiler = Spoiler(scene, bank, rng, ways=(way,))
    read = reader.read(compose(scene, bank, alter=spoiler))
    for number, box in spoiler.boxes.items():
        seen = _nearest(read, box)
        tally.answers[f"spoiled, {way}"].append(seen is not None and seen.name == scene.objects[number].name)


def _nearest(read: ReadScene, box: Box) -> ReadObject | None:
    """The object that has most of the union in common with the box, if that is half of it."""
    shares = [(_common(thing.box, box), number) for number, thing in enumerate(read.objects)]
    share, number = max(shares, default=(0.0, -1))
    return read.objects[number] if share >= _FOUND else None


def _common(first: Box, second: Box) -> float:
    common = overlap(first, second)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return common / max(areas - common, 1e-9)


def _measurement(name: str, answers: list[bool], seed: int) -> Measurement:
    measurement = mean_of(name, answers, seed=seed)
    return replace(measurement, better="lower") if name.startswith(("wrong", "spoiled")) else measurement


def _confusion(tally: _Tally) -> list[dict[str, Any]]:
    """Which names were taken for which, the most frequent first."""
    return [
        {"thing": thing, "read": read, "times": times, "of": _times(tally.named, thing)}
        for (thing, read), times in tally.confused.most_common(_NUM_CONFUSED)
    ]


def _hardest(tally: _Tally) -> Mapping[str, float]:
    """The share of each name that is read right, below 80 %, the worst first."""
    shares = {name: tally.named[name, True] / _times(tally.named, name) for name in _names(tally.named)}
    return {name: round(share, 3) for name, share in sorted(shares.items(), key=lambda row: row[1]) if share < 0.8}


def _names(named: Counter[tuple[str, bool]]) -> Iterable[str]:
    return sorted({name for name, _ in named})


def _times(named: Counter[tuple[str, bool]], name: str) -> int:
    return named[name, True] + named[name, False]
