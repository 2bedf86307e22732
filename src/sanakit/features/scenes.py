"""Scenes as training data: latents computed once, or pictures composed as training goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.common.pixels import Picture, to_signed
from sanakit.common.seeds import derived_seed
from sanakit.data.clip_bins import check_lengths
from sanakit.data.order import BatchOrder
from sanakit.features.batches import LatentBatch, OrderedData, PixelBatch, TextRows
from sanakit.features.caching import cache_texts, fill_store, latent_key, latent_store, text_store
from sanakit.features.configs import ScenePictures, ScenesData, ThingData
from sanakit.features.identity import Identity, digest_of
from sanakit.features.pixel_tensors import QUICK, encode_clips, encode_pictures
from sanakit.features.work import Demand, Work
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank, read_names
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.moving.paths import MOTIONS_VERSION, set_in_motion
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.sampling.mixture import Mixture
from sanakit.worlds.sampling.repainting import repainted
from sanakit.worlds.scenes.description import Box, Scene
from sanakit.worlds.world_scenes import WorldScenes

# A part of every key: it changes whenever the same bank and seed give other scenes or other pixels (a test pins them).
SCENES_VERSION = "4"
_BLOCK = 64  # scenes of one entry of the store
# Tokens to which the texts of a batch are filled up: few lengths, as compiled blocks like that, and mostly short ones.
_TEXT_LENGTHS = (24, 48, 96)


class Truths(Protocol):
    """A numbered stream of scenes."""

    def truth(self, index: int) -> tuple[Scene, str]:
        """A scene with a caption of it; of one number always the same."""


class Paintings:
    """The numbered stream of a bank's scenes, each with its caption and any number of paintings."""

    def __init__(
        self,
        bank: Bank,
        seed: int,
        split: Split = "train",
        *,
        mixture: Mixture | None = None,
        fps: float | None = None,
        scenes: Truths | None = None,
    ) -> None:
        """
        Args:
            fps: has things move, and is how many frames a second clips have.
            scenes: others than those of the bank, seed and split.
        """
        self._bank, self._seed, self._fps = bank, seed, fps or 1.0
        self._scenes = scenes or WorldScenes(bank, split, seed, mixture=mixture, moving=fps is not None)
        self.identity = f"scenes {SCENES_VERSION} {bank.hash} {seed}"
        if fps is not None:
            self.identity += f" moving {MOTIONS_VERSION} {fps:g}"
        if mixture is not None and mixture.identity:
            self.identity += f" {mixture.identity}"

    def caption(self, index: int) -> str:
        return self._scenes.truth(index)[1]

    def moves(self, index: int) -> bool:
        """Whether something does in this scene."""
        return any(thing.motion is not None for thing in self._scenes.truth(index)[0].objects)

    def paint_clip(self, copy: int, index: int, size: int, num_frames: int) -> NDArray[np.uint8]:
        """``(T, size, size, 3)``; the same words are true of every copy."""
        rng = np.random.default_rng((self._seed, copy, index))
        scene = repainted(self._scenes.truth(index)[0], rng, self._bank)
        scene = set_in_motion(scene, rng, self._bank, num_frames=num_frames, fps=self._fps)
        first = compose(scene, self._bank, size)
        if scene.num_frames == 1:
            return np.broadcast_to(first, (num_frames, *first.shape))
        return np.stack([first, *(compose(scene, self._bank, size, frame) for frame in range(1, num_frames))])

    def paint(self, copy: int, index: int, size: int) -> Picture:
        """The same words are true of every copy; each has its own places, sides and part of the panorama."""
        scene = repainted(self._scenes.truth(index)[0], np.random.default_rng((self._seed, copy, index)), self._bank)
        return compose(scene, self._bank, size)

    def sample(self, index: int, size: int) -> tuple[Picture, Sequence[Box]]:
        """The picture of a scene and where its objects are."""
        scene = self._scenes.truth(index)[0]
        return compose(scene, self._bank, size), [thing.box for thing in scene.objects]


class CachedScenes(OrderedData):
    """Micro-batches of cached scenes; all of them are kept in memory, bfloat16.

    A sample is one painting of a scene: number ``copy * num_captions + caption``, at the resolution of its turn. What
    is in one micro-batch has one resolution and about one length of text, so that a few long prompts do not make all
    others wait.
    """

    def __init__(
        self,
        latents: Sequence[Tensor],
        places: NDArray[np.int64],
        texts: Sequence[Tensor],
        text_of_caption: NDArray[np.int64],
        demand: Demand,
    ) -> None:
        """
        Args:
            latents: one ``(samples, C, h, w)`` for each resolution.
            places: ``(samples, 2)``, the resolution of each sample and its row in it.
            texts: the features of each different text, ``(L, C)``.
            text_of_caption: ``(captions,)`` numbers of texts.
        """
        lengths = np.array([len(text) for text in texts])
        filled = _filled_lengths(lengths)[text_of_caption]  # (captions,)
        of_sample = filled[np.arange(len(places)) % len(filled)]
        bins = np.stack([places[:, 0], of_sample], axis=1)
        super().__init__(BatchOrder(bins, batch_size=demand.batch_size, seed=demand.seed))
        self._latents, self._places = latents, places
        self._texts = TextRows(torch.cat(list(texts)), torch.from_numpy(lengths))
        self._text_of_caption = torch.from_numpy(text_of_caption)

    def batch(self, number: int) -> LatentBatch:
        """Latents ``(B, C, h, w)`` float32 and their text ``(B, L, C)`` float32."""
        batch = self._order[number]
        indices = np.array(batch.indices)
        group, rows = batch.height, torch.from_numpy(self._places[indices, 1])
        texts = self._text_of_caption[torch.from_numpy(indices) % len(self._text_of_caption)]
        return LatentBatch(self._latents[group][rows].float(), self._texts.batch(texts, batch.width))


def open_bank(name: str, names: Path | str | None) -> Bank:
    """The bank of a recipe, cut to the names of a file if one is given: one name a line, "#" begins a remark.

    Raises:
        RequestError: there is no such bank, the file cannot be read, or the bank lacks one of its names.
    """
    bank = load_bank(name)
    return bank if names is None else bank.subset(read_names(names))


def identity_of_scenes(*banks: Bank) -> Identity:
    """Of every scene that they give."""
    return {"scenes": digest_of([SCENES_VERSION, *(bank.hash for bank in banks)])}


def open_scenes(config: ScenesData, demand: Demand, work: Work) -> CachedScenes:
    """See ``latent_data``."""
    bank = open_bank(config.bank, config.names)
    demand.on_identity(identity_of_scenes(bank))
    of_clips = work.encoders.of_clips is not None
    if work.encoders.of_clips is not None:
        check_lengths(demand.frames, work.encoders.of_clips.config.temporal_compression)
    fps = one_rate(demand) if of_clips else None
    paintings = Paintings(bank, config.seed, mixture=config.mixture, fps=fps)
    return cached_scenes(paintings, config, demand, work)


def cached_scenes(paintings: Paintings, config: ScenesData | ThingData, demand: Demand, work: Work) -> CachedScenes:
    """As many paintings as the config says, with several resolutions each at one of them, in turn."""
    sizes = checked_sizes(demand.resolutions, work.encoders.compression * demand.patch)
    of_clips = work.encoders.of_clips is not None
    captions = [paintings.caption(index) for index in range(config.num_captions)]
    store = text_store(config.cache_folder, work.encoders)
    keys, _ = cache_texts(captions, store, work)
    number_of_text = {text: number for number, text in enumerate(keys)}
    texts = [store.get(key) for key in keys.values()]

    num_samples = config.num_captions * config.num_copies
    copy, caption = np.divmod(np.arange(num_samples), config.num_captions)
    turn = (caption + copy) % len(sizes)  # the resolution of each painting
    length = _lengths(paintings, demand, copy, caption) if of_clips else np.zeros_like(turn)  # 0: a picture as such
    shapes = sorted({*zip(turn.tolist(), length.tolist(), strict=True)})
    places, latents = np.zeros((num_samples, 2), np.int64), []
    for group, (size, frames) in enumerate(shapes):
        samples = np.flatnonzero((turn == size) & (length == frames))
        places[samples] = np.stack([np.full(len(samples), group), np.arange(len(samples))], axis=1)
        latents.append(_latents(paintings, config, samples, (sizes[size], frames), work))
    return CachedScenes(latents, places, texts, np.array([number_of_text[text] for text in captions]), demand)


def one_rate(demand: Demand) -> float:
    """Raises RequestError where there are several: scenes have the rate that they are painted at."""
    if len(demand.fps) > 1:
        raise RequestError(f"scenes are painted at one rate, and fps={list(demand.fps)} was given")
    return demand.fps[0]


def _lengths(
    paintings: Paintings, demand: Demand, copy: NDArray[np.int64], caption: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Frames of each painting: the lengths in turn; of a scene in which nothing moves every other one is a picture, so
    that a still caption means both."""
    moves = np.array([paintings.moves(index) for index in range(int(caption.max()) + 1)])
    lengths = np.array(sorted(set(demand.frames)))
    turns = lengths[(caption + copy) % len(lengths)]
    return np.where(~moves[caption] & ((caption // len(lengths) + copy) % 2 == 0), 1, turns)


def _latents(
    paintings: Paintings, config: ScenesData | ThingData, samples: NDArray[np.int64], shape: tuple[int, int], work: Work
) -> Tensor:
    """Latents of these samples, ``(samples, C, h, w)`` or of clips ``(samples, C, t, h, w)``, bfloat16.

    Args:
        shape: side in pixels, and frames; 0 of pictures.
    """
    size, frames = shape
    store, clips = latent_store(config.cache_folder, work.encoders), work.encoders.of_clips
    blocks: dict[str, list[tuple[int, int]]] = {}
    for start in range(0, len(samples), _BLOCK):
        numbers = [divmod(int(number), config.num_captions) for number in samples[start : start + _BLOCK]]
        identity = f"{paintings.identity} {numbers}" + (f" of {frames} frames" if frames else "")
        blocks[latent_key(identity, size, size, work.rule("rendered"), QUICK, work.encoders)] = numbers

    told = f"{size} px" + (f" of {frames} frames" if frames else "")

    def compute(missing: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        for key in missing:
            if clips is not None:
                painted = [paintings.paint_clip(copy, index, size, frames) for copy, index in blocks[key]]
                yield key, encode_clips(clips, painted, work.device, quick=True)
                continue
            pictures = [paintings.paint(copy, index, size) for copy, index in blocks[key]]
            # always these together
            yield key, encode_pictures(work.encoders.autoencoder, work.shown(pictures), work.device, quick=True)

    fill_store(store, list(blocks), compute, work, what=f"blocks of {_BLOCK} scenes at {told}")
    return torch.cat([store.get(key) for key in blocks])


class ComposedScenes:
    """Micro-batches of pictures of scenes that are composed when they are asked for; no scene comes twice."""

    num_batches = None

    def __init__(self, paintings: Paintings, size: int, *, batch_size: int, crop: int | None) -> None:
        self._paintings, self._size, self._batch_size, self._crop = paintings, size, batch_size, crop

    def num_samples(self, number: int) -> int:
        return self._batch_size

    def batch(self, number: int) -> PixelBatch:
        first = number * self._batch_size
        indices = range(first, first + self._batch_size)
        return PixelBatch(scene_pixels(self._paintings, indices, self._size, crop=self._crop))


def scene_pictures(config: ScenePictures, demand: Demand, *, multiple: int, crop: int | None) -> ComposedScenes:
    """See ``pixel_data``. The scenes follow from both seeds, so every stage of a run sees its own."""
    sizes = checked_sizes(demand.resolutions, multiple)
    if len(sizes) > 1:
        raise RequestError(f"scenes are composed at one resolution, and {', '.join(map(str, sizes))} px were given")
    if crop is not None and (crop > sizes[0] or crop % multiple):
        raise RequestError(
            f"a window of {crop} px does not fit: it must be a multiple of {multiple} px of at most {sizes[0]} px"
        )
    both = derived_seed(config.seed, demand.seed, bits=56)
    bank = open_bank(config.bank, config.names)
    demand.on_identity(identity_of_scenes(bank))
    paintings = Paintings(bank, both)
    return ComposedScenes(paintings, sizes[0], batch_size=demand.batch_size, crop=crop)


def scene_pixels(paintings: Paintings, indices: range, size: int, *, crop: int | None = None) -> Tensor:
    """Scenes as ``(B, 3, H, W)`` in [-1, 1], channels last; with ``crop``, a window around one of the objects."""
    images = []
    for index in indices:
        image, boxes = paintings.sample(index, size)
        if crop is not None:
            rng = np.random.default_rng(index)
            left, top, right, bottom = boxes[int(rng.integers(len(boxes)))]
            centre = np.array([rng.uniform(top, bottom), rng.uniform(left, right)]) * size
            y, x = np.clip(centre - crop / 2, 0, size - crop).astype(int)
            image = image[y : y + crop, x : x + crop]
        images.append(image)
    return to_signed(images)


def checked_sizes(resolutions: Sequence[int], multiple: int) -> list[int]:
    """Sides from the smallest; ``RequestError`` for those that do not split into latents."""
    sizes = sorted(set(resolutions))
    if not sizes or any(size < multiple or size % multiple for size in sizes):
        raise RequestError(
            f"resolutions={list(resolutions)} must be one or more multiples of {multiple} px, "
            f"the compression of the autoencoder"
        )
    return sizes


def _filled_lengths(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least of the lengths of batches that holds each text; the longest texts have one of their own."""
    longest = -(-int(lengths.max()) // 8) * 8
    limits = np.array([*(limit for limit in _TEXT_LENGTHS if limit < longest), longest])
    return limits[np.searchsorted(limits, lengths)]
