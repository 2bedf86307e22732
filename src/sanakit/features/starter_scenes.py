"""The scenes of the first starter as training data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sanakit.common.pixels import Picture
from sanakit.common.seeds import derived_seed
from sanakit.features.configs import ScenesData, StarterPictures, StarterScenesData
from sanakit.features.scenes import CachedScenes, ComposedScenes, cached_scenes, composed
from sanakit.features.work import Demand, Work
from sanakit.worlds.scenes.description import Box
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene, Split
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank

# A part of every key: it changes whenever the same seed gives other scenes or other pixels (a test pins them).
SCENES_VERSION = "1"


class StarterPaintings:
    """Scenes of fifty flat drawings."""

    def __init__(self, seed: int, split: Split = "train") -> None:
        self._seed = seed
        self._scenes = StarterScenes(load_sprite_bank(), split, seed)
        self.identity = f"starter scenes {SCENES_VERSION} {_sprites_hash()} {seed}"

    def caption(self, index: int) -> str:
        return self._scenes.truth(index)[1]

    def paint(self, copy: int, index: int, size: int) -> Picture:
        return paint(self._scenes, self._seed, copy, index, size)

    def sample(self, index: int, size: int) -> tuple[Picture, Sequence[Box]]:
        scene = self._scenes.truth(index)[0]
        return render(scene, load_sprite_bank(), size), [thing.box for thing in scene.objects]


def open_starter_scenes(config: StarterScenesData, demand: Demand, work: Work) -> CachedScenes:
    """See ``latent_data``."""
    counts = ScenesData(
        num_captions=config.num_captions, num_copies=config.num_copies, cache_folder=config.cache_folder
    )
    return cached_scenes(StarterPaintings(config.seed), counts, demand, work)


def starter_pictures(config: StarterPictures, demand: Demand, *, multiple: int, crop: int | None) -> ComposedScenes:
    """See ``pixel_data``."""
    both = derived_seed(config.seed, demand.seed, bits=56)
    return composed(StarterPaintings(both), demand, multiple=multiple, crop=crop)


def paint(scenes: StarterScenes, seed: int, copy: int, index: int, size: int) -> NDArray[np.uint8]:
    """Painting number ``copy`` of a scene, ``(size, size, 3)``: each is moved and scaled a little in its own way."""
    scene = moved(scenes.truth(index)[0], np.random.default_rng((seed, copy, index)))
    return render(scene, load_sprite_bank(), size)


def moved(scene: Scene, rng: Generator) -> Scene:
    """The scene shifted and scaled as a whole within the canvas: every count, order and relation stays."""
    boxes = np.array([thing.box for thing in scene.objects])  # (objects, 4)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    extent = high - low
    scale = min(rng.uniform(0.92, 1.08), 0.98 / extent.max())
    room = 1 - scale * extent
    centre = (low + high) / 2 + rng.uniform(-0.3, 0.3, 2) * room
    centre = np.clip(centre, scale * extent / 2, 1 - scale * extent / 2)
    corners = (boxes.reshape(-1, 2, 2) - (low + high) / 2) * scale + centre
    objects = tuple(
        replace(thing, box=(float(left), float(top), float(right), float(bottom)))
        for thing, (left, top, right, bottom) in zip(scene.objects, corners.reshape(-1, 4), strict=True)
    )
    return replace(scene, objects=objects)


@lru_cache(maxsize=1)
def _sprites_hash() -> str:
    folder = resources.files("sanakit").joinpath("starter")
    content = folder.joinpath("sprites.webp").read_bytes() + folder.joinpath("sprites.json").read_bytes()
    return hashlib.sha256(content).hexdigest()
