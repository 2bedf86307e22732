"""The starter's scenes as training data: latents computed once, or pictures composed as training goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.common.pixels import to_signed
from sanakit.common.seeds import derived_seed
from sanakit.data.order import BatchOrder
from sanakit.features.batches import LatentBatch, OrderedData, PixelBatch
from sanakit.features.caching import cache_texts, fill_store, latent_key, latent_store, text_store
from sanakit.features.configs import ScenePictures, StarterScenesData
from sanakit.features.pixel_tensors import QUICK, encode_pictures
from sanakit.features.text_rows import TextRows
from sanakit.features.work import Demand, Work
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank

# A part of every key: it changes whenever the same seed gives other scenes or other pixels (a test pins them).
SCENES_VERSION = "1"
_BLOCK = 64  # scenes of one entry of the store


class CachedScenes(OrderedData):
    """Micro-batches of cached scenes; all of them are kept in memory, bfloat16.

    A sample is one painting of a scene: number ``copy * num_captions + caption``, at the resolution of its turn.
    """

    def __init__(
        self,
        latents: Sequence[Tensor],
        places: NDArray[np.int64],
        texts: Sequence[Tensor],
        text_of_caption: NDArray[np.int64],
        order: BatchOrder,
    ) -> None:
        """
        Args:
            latents: one ``(samples, C, h, w)`` for each resolution.
            places: ``(samples, 2)``, the resolution of each sample and its row in it.
            texts: the features of each different text, ``(L, C)``.
            text_of_caption: ``(captions,)`` numbers of texts.
        """
        super().__init__(order)
        self._latents, self._places = latents, places
        lengths = [len(text) for text in texts]
        self._texts = TextRows(torch.cat(list(texts)), torch.tensor(lengths))
        self._text_of_caption = torch.from_numpy(text_of_caption)
        self._longest = -(-max(lengths) // 8) * 8  # one length for all batches: compiled blocks like that

    def batch(self, number: int) -> LatentBatch:
        """Latents ``(B, C, h, w)`` float32 and their text ``(B, L, C)`` float32."""
        indices = np.array(self._order[number].indices)
        group, rows = self._places[indices[0], 0], torch.from_numpy(self._places[indices, 1])
        texts = self._text_of_caption[torch.from_numpy(indices) % len(self._text_of_caption)]
        return LatentBatch(self._latents[group][rows].float(), self._texts.batch(texts, self._longest))


def open_scenes(config: StarterScenesData, demand: Demand, work: Work) -> CachedScenes:
    """See ``latent_data``. With several resolutions each painting has one of them, in turn."""
    sizes = _checked_sizes(demand.resolutions, work.encoders.compression)
    scenes = StarterScenes(load_sprite_bank(), "train", config.seed)
    captions = [scenes.truth(index)[1] for index in range(config.num_captions)]
    store = text_store(config.cache_folder, work.encoders)
    keys, _ = cache_texts(captions, store, work)
    number_of_text = {text: number for number, text in enumerate(keys)}
    texts = [store.get(key) for key in keys.values()]

    num_samples = config.num_captions * config.num_copies
    turn = np.arange(num_samples)
    turn = (turn % config.num_captions + turn // config.num_captions) % len(sizes)  # the resolution of each painting
    places, latents = np.stack([turn, np.zeros_like(turn)], axis=1), []
    for group, size in enumerate(sizes):
        samples = np.flatnonzero(turn == group)
        places[samples, 1] = np.arange(len(samples))
        latents.append(_scene_latents(config, samples, size, work))
    shapes = np.array(sizes)[turn][:, None].repeat(2, axis=1)
    order = BatchOrder(shapes, batch_size=demand.batch_size, seed=demand.seed)
    return CachedScenes(latents, places, texts, np.array([number_of_text[text] for text in captions]), order)


def _scene_latents(config: StarterScenesData, samples: NDArray[np.int64], size: int, work: Work) -> Tensor:
    """Latents of these samples at one resolution, ``(samples, C, h, w)`` bfloat16."""
    store = latent_store(config.cache_folder, work.encoders)
    blocks: dict[str, list[tuple[int, int]]] = {}
    for start in range(0, len(samples), _BLOCK):
        paintings = [divmod(int(number), config.num_captions) for number in samples[start : start + _BLOCK]]
        identity = f"starter scenes {SCENES_VERSION} {_sprites_hash()} {config.seed} {paintings}"
        blocks[latent_key(identity, size, size, "rendered", QUICK, work.encoders)] = paintings
    scenes = StarterScenes(load_sprite_bank(), "train", config.seed)

    def compute(missing: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        for key in missing:
            pictures = [paint(scenes, config.seed, copy, index, size) for copy, index in blocks[key]]
            # always these together
            yield key, encode_pictures(work.encoders.autoencoder, pictures, work.device, quick=True)

    fill_store(store, list(blocks), compute, work, what=f"blocks of {_BLOCK} scenes at {size} px")
    return torch.cat([store.get(key) for key in blocks])


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


class ComposedScenes:
    """Micro-batches of pictures of scenes that are composed when they are asked for; no scene comes twice."""

    num_batches = None

    def __init__(self, scenes: StarterScenes, *, batch_size: int, crop: int | None) -> None:
        self._scenes, self._batch_size, self._crop = scenes, batch_size, crop

    def num_samples(self, number: int) -> int:
        return self._batch_size

    def batch(self, number: int) -> PixelBatch:
        first = number * self._batch_size
        return PixelBatch(scene_pixels(self._scenes, range(first, first + self._batch_size), crop=self._crop))


def scene_pictures(config: ScenePictures, demand: Demand, *, multiple: int, crop: int | None) -> ComposedScenes:
    """See ``pixel_data``. The scenes follow from both seeds, so every stage of a run sees its own."""
    sizes = _checked_sizes(demand.resolutions, multiple)
    if len(sizes) > 1:
        raise RequestError(f"scenes are composed at one resolution, and {', '.join(map(str, sizes))} px were given")
    if crop is not None and (crop > sizes[0] or crop % multiple):
        raise RequestError(
            f"a window of {crop} px does not fit: it must be a multiple of {multiple} px of at most {sizes[0]} px"
        )
    both = derived_seed(config.seed, demand.seed, bits=56)
    scenes = StarterScenes(load_sprite_bank(), "train", both, size=sizes[0])
    return ComposedScenes(scenes, batch_size=demand.batch_size, crop=crop)


def scene_pixels(scenes: StarterScenes, indices: range, *, crop: int | None = None) -> Tensor:
    """Scenes as ``(B, 3, H, W)`` in [-1, 1], channels last; with ``crop``, a window around one of the objects."""
    images = []
    for index in indices:
        image, _, scene = scenes.sample(index)
        if crop is not None:
            rng = np.random.default_rng(index)
            left, top, right, bottom = scene.objects[rng.integers(len(scene.objects))].box
            centre = np.array([rng.uniform(top, bottom), rng.uniform(left, right)]) * len(image)
            y, x = np.clip(centre - crop / 2, 0, len(image) - crop).astype(int)
            image = image[y : y + crop, x : x + crop]
        images.append(image)
    return to_signed(images)


def _checked_sizes(resolutions: Sequence[int], multiple: int) -> list[int]:
    sizes = sorted(set(resolutions))
    if not sizes or any(size < multiple or size % multiple for size in sizes):
        raise RequestError(
            f"resolutions={list(resolutions)} must be one or more multiples of {multiple} px, "
            f"the compression of the autoencoder"
        )
    return sizes


@lru_cache(maxsize=1)
def _sprites_hash() -> str:
    folder = resources.files("sanakit").joinpath("starter")
    content = folder.joinpath("sprites.webp").read_bytes() + folder.joinpath("sprites.json").read_bytes()
    return hashlib.sha256(content).hexdigest()
