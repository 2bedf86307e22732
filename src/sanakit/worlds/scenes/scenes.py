"""Drawing random scenes, and the endless stream of pictures, captions and truths that training reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.worlds.scenes.captions import caption
from sanakit.worlds.scenes.placing import place_count, place_pair, place_single
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Look, Relation, Scene, SizeWord, Split
from sanakit.worlds.scenes.sprites import SpriteBank
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, DEFAULT_BACKGROUND, ITEMS, background_clashes

K = TypeVar("K")

# What is drawn how often; the shares add up to one.
MIXTURE: Mapping[str, float] = {"single": 0.35, "count": 0.27, "relation": 0.28, "pair": 0.10}
_COLOUR_SHARE = 0.45  # of the objects have a colour word
_SHAPE_COLOUR_SHARE = 0.80  # of circles, squares and triangles, which have no look of their own
_BACKGROUND_SHARE = 0.42  # of the scenes have a background that is not the default one
_SIZE_WORD_SHARE = 0.15  # of the single objects
_NUM_SHARE = {2: 0.36, 3: 0.34, 4: 0.30}

_NAMES = tuple(ITEMS)
_COLOUR_WORDS = tuple(COLOURS)
_OTHER_BACKGROUNDS = tuple(name for name in BACKGROUNDS if name != DEFAULT_BACKGROUND)
_RELATIONS: tuple[Relation, ...] = get_args(Relation)


class Sample(NamedTuple):
    """One training example: ``image`` is ``(size, size, 3)`` uint8 RGB."""

    image: NDArray[np.uint8]
    caption: str
    scene: Scene


class StarterScenes:
    """An endless data set whose sample ``index`` depends on (seed, split, index) and on nothing else.

    Any process can make any sample, so shards and resumed runs need no state.
    """

    def __init__(self, bank: SpriteBank, split: Split, seed: int, *, size: int = 128) -> None:
        if split not in get_args(Split):
            raise ConfigError(f"split={split!r} is unknown; choose one of {', '.join(get_args(Split))}")
        self._bank, self._split, self._seed, self._size = bank, split, seed, size

    def sample(self, index: int) -> Sample:
        scene, text = self.truth(index)
        return Sample(image=render(scene, self._bank, self._size), caption=text, scene=scene)

    def truth(self, index: int) -> tuple[Scene, str]:
        """The scene and caption of `sample`, without painting the picture."""
        rng = np.random.default_rng((self._seed, get_args(Split).index(self._split), index))
        scene = sample_scene(rng, self._split)
        return scene, caption(scene, rng)


def sample_scene(rng: Generator, split: Split = "train") -> Scene:
    """Draw a scene that belongs to the split."""
    kind = _choose(MIXTURE, rng)
    while not (scene := _draw_scene(kind, rng)).belongs_to(split):
        pass
    return scene


def _draw_scene(kind: str, rng: Generator) -> Scene:
    background = _OTHER_BACKGROUNDS[rng.integers(len(_OTHER_BACKGROUNDS))]
    if rng.random() >= _BACKGROUND_SHARE:
        background = DEFAULT_BACKGROUND
    if kind == "single":
        return _draw_single(background, rng)
    if kind == "count":
        return place_count(_draw_look(background, rng), _choose(_NUM_SHARE, rng), rng, background=background)
    return _draw_pair(background, rng, related=kind == "relation")


def _draw_single(background: str, rng: Generator) -> Scene:
    size: SizeWord | None = None
    if rng.random() < _SIZE_WORD_SHARE:
        size = "small" if rng.random() < 0.5 else "big"
    return place_single(_draw_look(background, rng), rng, background=background, size=size)


def _draw_pair(background: str, rng: Generator, *, related: bool) -> Scene:
    first, second = _draw_look(background, rng), _draw_look(background, rng)
    while second[0] == first[0]:
        second = _draw_look(background, rng)
    relation = _RELATIONS[rng.integers(4)] if related else None
    return place_pair(first, second, rng, relation=relation, background=background)


def _draw_look(background: str, rng: Generator) -> Look:
    """A name and a colour or None, that can be seen before the background."""
    while True:
        item = ITEMS[_NAMES[rng.integers(len(_NAMES))]]
        coloured = rng.random() < (_SHAPE_COLOUR_SHARE if item.group == "shape" else _COLOUR_SHARE)
        colour = _COLOUR_WORDS[rng.integers(len(_COLOUR_WORDS))] if coloured else None
        if not background_clashes(background, item, colour):
            return item.name, colour


def _choose(shares: Mapping[K, float], rng: Generator) -> K:
    draw, total = rng.random(), 0.0
    for key, share in shares.items():
        total += share
        if draw < total:
            return key
    return key
