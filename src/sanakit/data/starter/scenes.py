"""Drawing random scenes, and the endless stream of pictures, captions and truths that training reads."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple, TypeVar, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.data.starter.captions import caption
from sanakit.data.starter.layout import arrange, fit
from sanakit.data.starter.render import render
from sanakit.data.starter.scene import Relation, Scene, SceneObject, SizeWord, Split
from sanakit.data.starter.sprites import SpriteBank
from sanakit.data.starter.vocabulary import BACKGROUNDS, COLOURS, DEFAULT_BACKGROUND, ITEMS, background_clashes

K = TypeVar("K")

# What is drawn how often; the shares add up to one.
MIXTURE = MappingProxyType({"single": 0.35, "count": 0.27, "relation": 0.28, "pair": 0.10})
_COLOUR_SHARE = MappingProxyType({"shape": 0.80})  # by group; everything else:
_DEFAULT_COLOUR_SHARE = 0.45
_BACKGROUND_SHARE = 0.42  # of the scenes have a background that is not the default one
_SIZE_WORD_SHARE = 0.15  # of the single objects
_NUM_SHARE = MappingProxyType({2: 0.36, 3: 0.34, 4: 0.30})

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
        rng = self._generator(index)
        scene = sample_scene(rng, self._split)
        return Sample(image=render(scene, self._bank, self._size), caption=caption(scene, rng), scene=scene)

    def truth(self, index: int) -> tuple[Scene, str]:
        """The scene and caption of `sample`, without painting the picture."""
        rng = self._generator(index)
        scene = sample_scene(rng, self._split)
        return scene, caption(scene, rng)

    def _generator(self, index: int) -> Generator:
        return np.random.default_rng((self._seed, get_args(Split).index(self._split), index))


def sample_scene(rng: Generator, split: Split = "train") -> Scene:
    """Draw a scene; "train" never holds a held-out combination, "heldout" always at least one."""
    kind = _choose(MIXTURE, rng)
    while True:
        scene = _draw_scene(kind, rng)
        if bool(scene.heldout_combinations()) == (split == "heldout"):
            return scene


def _draw_scene(kind: str, rng: Generator) -> Scene:
    background = _OTHER_BACKGROUNDS[rng.integers(len(_OTHER_BACKGROUNDS))]
    if rng.random() >= _BACKGROUND_SHARE:
        background = DEFAULT_BACKGROUND
    if kind == "single":
        return _draw_single(background, rng)
    if kind == "count":
        return _draw_count(background, rng)
    return _draw_pair(background, rng, related=kind == "relation")


def _draw_single(background: str, rng: Generator) -> Scene:
    name, colour = _draw_object(background, rng)
    size: SizeWord | None = None
    scale = rng.uniform(0.60, 0.85)
    if rng.random() < _SIZE_WORD_SHARE:
        size, scale = ("small", rng.uniform(0.30, 0.40)) if rng.random() < 0.5 else ("big", rng.uniform(0.88, 0.95))
    slack = 0.7 * (1.0 - scale) / 2.0  # the object stays inside, and nearer to the middle than to an edge
    x, y = 0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack)
    thing = SceneObject(name=name, colour=colour, box=fit(ITEMS[name].aspect, (x, y), scale))
    return Scene(kind="single", objects=(thing,), background=background, size=size)


def _draw_count(background: str, rng: Generator) -> Scene:
    name, colour = _draw_object(background, rng)
    centres, scale = arrange(_choose(_NUM_SHARE, rng), rng)
    aspect = ITEMS[name].aspect
    objects = tuple(SceneObject(name=name, colour=colour, box=fit(aspect, centre, scale)) for centre in centres)
    return Scene(kind="count", objects=objects, background=background)


def _draw_pair(background: str, rng: Generator, *, related: bool) -> Scene:
    first, second = _draw_object(background, rng), _draw_object(background, rng)
    while second[0] == first[0]:
        second = _draw_object(background, rng)
    relation = _RELATIONS[rng.integers(4)] if related else None
    near, far = _pair_centres(upright=relation in ("above", "below"), rng=rng)
    if relation in ("right", "below"):
        near, far = far, near
    objects = tuple(
        SceneObject(name=name, colour=colour, box=fit(ITEMS[name].aspect, centre, rng.uniform(0.40, 0.46)))
        for (name, colour), centre in zip((first, second), (near, far), strict=True)
    )
    return Scene(kind="pair", objects=objects, background=background, relation=relation)


def _pair_centres(*, upright: bool, rng: Generator) -> tuple[tuple[float, float], tuple[float, float]]:
    """Centres of two objects of at most 0.46: left and right, or upright top and bottom."""
    along = (0.25 + rng.uniform(-0.015, 0.01), 0.75 + rng.uniform(-0.01, 0.015))
    across = (0.5 + rng.uniform(-0.08, 0.08), 0.5 + rng.uniform(-0.08, 0.08))
    if upright:
        return (across[0], along[0]), (across[1], along[1])
    return (along[0], across[0]), (along[1], across[1])


def _draw_object(background: str, rng: Generator) -> tuple[str, str | None]:
    """A name and a colour or None, that can be seen before the background."""
    while True:
        item = ITEMS[_NAMES[rng.integers(len(_NAMES))]]
        coloured = rng.random() < _COLOUR_SHARE.get(item.group, _DEFAULT_COLOUR_SHARE)
        colour = _COLOUR_WORDS[rng.integers(len(_COLOUR_WORDS))] if coloured else None
        if not background_clashes(background, item, colour):
            return item.name, colour


def _choose(shares: MappingProxyType[K, float], rng: Generator) -> K:
    draw, total = rng.random(), 0.0
    for key, share in shares.items():
        total += share
        if draw < total:
            return key
    return key
