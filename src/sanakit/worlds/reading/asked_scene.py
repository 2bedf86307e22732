"""A prompt back into the scene that it asks for, by the words of a model: what a picture of it is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, permutations
from typing import Any

from sanakit.worlds.scenes.description import Ground, Kind, Motion, Relation, Scene, SceneObject
from sanakit.worlds.scenes.vocabulary import NUMBER_WORDS, PLAIN_BACKGROUNDS, SCENE_BACKGROUNDS
from sanakit.worlds.telling.motions import MOTION_WORDINGS, SPEED_WORDS
from sanakit.worlds.telling.phrases import PREFIXES, RELATION_WORDINGS, STYLES, VIEWS, wordings_behind

_NOWHERE = (0.0, 0.0, 1.0, 1.0)
_MOTIONS = {wording: kind for kind, pool in MOTION_WORDINGS.items() for wording in pool}
_SPEEDS = {word: speed for speed, pool in SPEED_WORDS.items() for word in pool}
_KINDS: Mapping[int, Kind] = {1: "single", 2: "pair"}


@dataclass(frozen=True)
class AskedScenes:
    """Reads prompts as captions are written: what is behind, two things and how they stand, one thing many times, and
    what things do.

    ``words`` are those of a model, as its ``words.json`` lists them. Of a text that is written otherwise the things
    count, with the number and the colour that stand before them.
    """

    words: Mapping[str, Any]

    def read(self, prompt: str) -> Scene | None:
        """What is asked for, with boxes that say nothing; None if no thing is named that the model knows."""
        text, ground = self._without_ground(" ".join(prompt.lower().split()))
        text = self._around.sub(" ", text)
        found = list(self._thing.finditer(text))
        things = [thing for each in found for thing in self._things(each)]
        if not things:
            return None
        kind = "count" if len(found) == 1 < len(things) else _KINDS.get(len(things), "trio")
        relation = _relation(self._thing.sub("{}", text)) if kind == "pair" else None
        return Scene(kind=kind, objects=tuple(things), ground=ground, relation=relation)

    def _without_ground(self, text: str) -> tuple[str, Ground]:
        """The rest of the text, and what is to be behind: white where no words name it, as in captions."""
        said = self._behind.search(text)
        if said is None:
            return text, Ground()
        return f"{text[: said.start()]} {text[said.end() :]}", self._grounds[said[0]]

    def _things(self, found: re.Match[str]) -> list[SceneObject]:
        number = self._numbers.get(found["number"] or "", 1)
        motion = None
        if found["motion"]:
            motion = Motion(kind=_MOTIONS[found["motion"]], speed=_SPEEDS.get(found["speed"] or ""))
        name = self._names[found["name"]]
        return [SceneObject(name=name, look="", colour=found["colour"], box=_NOWHERE, motion=motion)] * number

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """Names of things by what they may be called."""
        found: dict[str, str] = {}
        for thing in self.words.get("things", ()):
            called = (thing["name"], thing.get("plural", thing["name"]), *chain(*thing.get("synonyms", ())))
            for word in called:
                found.setdefault(word.lower(), thing["name"])
        return found

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {text: number for number, word in NUMBER_WORDS.items() for text in (word, str(number))}

    @cached_property
    def _thing(self) -> re.Pattern[str]:
        sizes = (word for words in self.words.get("sizes", {}).values() for word in words)
        parts = (
            rf"(?:(?P<number>{_any(self._numbers)}|an?|the) )?",
            rf"(?:(?:{_any(sizes)}) )?",
            rf"(?:(?P<colour>{_any({*self.words.get('colours', ()), *PLAIN_BACKGROUNDS})}) )?",
            rf"(?P<name>{_any(self._names)})",
            rf"(?: (?:(?P<speed>{_any(_SPEEDS)}) )?(?P<motion>{_any(_MOTIONS)}))?",
        )
        return re.compile(rf"\b{''.join(parts)}\b")

    @cached_property
    def _grounds(self) -> Mapping[str, Ground]:
        colours = list(PLAIN_BACKGROUNDS)
        grounds = [
            *(Ground(name=name) for name in colours),
            *(Ground(kind="graded", name=" ".join(pair)) for pair in permutations(colours, 2)),
            *(Ground(kind="drawn", name=name) for name in SCENE_BACKGROUNDS),
        ]
        said = {wording: ground for ground in grounds for wording in wordings_behind(ground)}
        for name, wordings in self.words.get("places", {}).items():
            said |= {wording.lower(): Ground(kind="place", name=name) for wording in wordings}
        return said

    @cached_property
    def _behind(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{_any(self._grounds)})\b")

    @cached_property
    def _around(self) -> re.Pattern[str]:
        """What says how a picture is made, and may hold names of things."""
        said = (wording for pool in (STYLES, VIEWS) for wordings in pool.values() for wording in wordings)
        return re.compile(rf"\b(?:{_any([*PREFIXES, *(wording.lower() for wording in said)])})\b")


def _any(texts: Iterable[str]) -> str:
    """One of them, the longest that is there; nothing can be none of them."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)"


def _relation(text: str) -> Relation | None:
    """How two things, each written as ``{}``, stand by the longest wording that is there."""
    said = [(len(w), relation) for relation, pool in RELATION_WORDINGS.items() for w in pool if w in text]
    return max(said)[1] if said else None
