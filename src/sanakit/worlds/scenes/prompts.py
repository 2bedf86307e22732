"""The prompts that the starter is judged by: the README's sheet, and held-out prompts with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, permutations, product
from typing import Literal, get_args

import numpy as np
from numpy.random import Generator

from sanakit.worlds.scenes.captions import canonical_caption
from sanakit.worlds.scenes.placing import place_count, place_pair, place_single
from sanakit.worlds.scenes.scene import Relation, Scene, Split
from sanakit.worlds.scenes.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    DEFAULT_BACKGROUND,
    ITEMS,
    NUMBER_WORDS,
    background_clashes,
)

PromptKind = Literal["object", "count", "colour", "position", "background"]

# Written before the training began and never changed after it.
SHEET_PROMPTS = (
    "a cat",
    "an apple",
    "a house",
    "a butterfly",
    "a purple cat",
    "a blue apple",
    "a green car",
    "a pink umbrella",
    "a black rabbit on a yellow background",
    "two dogs",
    "three stars",
    "four balloons",
    "three blue fish",
    "two red hearts on a pink background",
    "an apple and a banana",
    "a cat to the left of a dog",
    "a red ball on the right of a blue cup",
    "a bird above a tree",
    "a fish below a boat",
    "a green square to the left of a red circle",
    "a penguin in the snow",
    "a turtle on the beach",
    "a rocket at night",
    "a yellow flower on the grass",
)


def heldout_prompts(num: int, seed: int) -> list[tuple[str, Scene]]:
    """``num`` plain prompts, each with a scene that fulfils it; the kinds take turns.

    Each prompt asks for one thing only (see `prompt_kind`) and, but for the single objects, names a combination
    that no training scene holds. The kind "object" is in turns a single object and a held-out pair "A and B".
    A prompt comes twice only after all of its kind have come once.
    """
    return _prompts(num, seed, "heldout")


def seen_prompts(num: int, seed: int) -> list[tuple[str, Scene]]:
    """The same kinds of prompts as `heldout_prompts`, of combinations that training does show: for comparison."""
    return _prompts(num, seed, "train")


def _prompts(num: int, seed: int, split: Split) -> list[tuple[str, Scene]]:
    rng = np.random.default_rng((seed, 0x5EED))
    sources = [_endless(kind, split, rng) for kind in get_args(PromptKind)]
    scenes = [next(sources[index % len(sources)]) for index in range(num)]
    return [(canonical_caption(scene), scene) for scene in scenes]


def prompt_kind(scene: Scene) -> PromptKind:
    """What the prompt of `heldout_prompts` with this truth tests."""
    if scene.relation is not None:
        return "position"
    if scene.kind == "count":
        return "count"
    if scene.background != DEFAULT_BACKGROUND:
        return "background"
    return "colour" if any(thing.colour for thing in scene.objects) else "object"


def _endless(kind: PromptKind, split: Split, rng: Generator) -> Iterator[Scene]:
    """All scenes of a kind in random order, then again."""
    singles = _shuffled([place_single((name, None), rng) for name in ITEMS], rng) if kind == "object" else []
    scenes = cycle(_shuffled([scene for scene in _all_scenes(kind, rng) if scene.belongs_to(split)], rng))
    return (scene for both in zip(cycle(singles), scenes, strict=False) for scene in both) if singles else scenes


def _all_scenes(kind: PromptKind, rng: Generator) -> list[Scene]:
    match kind:
        case "object":  # the pairs, which alone can be held out
            return [place_pair((a, None), (b, None), rng) for a, b in permutations(ITEMS, 2)]
        case "count":
            numbers = [number for number in NUMBER_WORDS if number > 1]
            return [place_count((name, None), number, rng) for name, number in product(ITEMS, numbers)]
        case "colour":
            looks = product(ITEMS, COLOURS)
            return [place_single(look, rng) for look in looks if _visible(*look, DEFAULT_BACKGROUND)]
        case "background":
            places = [b for b in BACKGROUNDS if b != DEFAULT_BACKGROUND]
            visible = [(name, place) for name, place in product(ITEMS, places) if _visible(name, None, place)]
            return [place_single((name, None), rng, background=place) for name, place in visible]
        case "position":
            relations: tuple[Relation, ...] = get_args(Relation)
            triples = product(permutations(ITEMS, 2), relations)
            return [place_pair((a, None), (b, None), rng, relation=relation) for (a, b), relation in triples]


def _visible(name: str, colour: str | None, background: str) -> bool:
    return not background_clashes(background, ITEMS[name], colour)


def _shuffled(scenes: list[Scene], rng: Generator) -> list[Scene]:
    return [scenes[index] for index in rng.permutation(len(scenes))]
