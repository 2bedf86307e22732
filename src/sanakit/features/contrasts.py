"""Pictures with a right and a wrong caption, on which a network is tested while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.pixels import Picture
from sanakit.features.batches import LatentBatch, TextRows, TrainingData
from sanakit.features.configs import LatentDataConfig, ScenesData
from sanakit.features.pixel_tensors import encode_clips, encode_pictures, encode_texts
from sanakit.features.work import Demand, Work
from sanakit.models.text.text_condition import TextCondition

ANOTHER_CAPTION = "another caption"
_PER_KIND = 24  # scenes for each kind of wrong word
_MAX_SCENES = 2000  # that are looked at for them
_MAX_FILES = 48  # samples of a data set


@dataclass(frozen=True, slots=True)
class ContrastBatch:
    """Latents ``(B, C, H, W)`` with captions that are right and wrong of them, and what is wrong, ``B`` kinds."""

    latent: Tensor
    right: TextCondition
    wrong: TextCondition
    kinds: tuple[str, ...]


class Contrast(NamedTuple):
    """A scene with its caption, and one with a wrong word for each kind of word that it has."""

    paint: Callable[[], Picture]  # or a clip (T, H, W, 3)
    caption: str
    wrong: Mapping[str, str]


def contrasts(
    config: LatentDataConfig, data: TrainingData[LatentBatch], demand: Demand, work: Work
) -> list[ContrastBatch]:
    """What a network that trains on this data is tested on.

    Of scenes: held-out ones, of every kind of word the same number, with one word wrong. Of a user's data nobody knows
    which words are wrong: its own samples, each with the caption of the next one.
    """
    if isinstance(config, ScenesData):
        size = max(demand.resolutions)
        of_clips = work.encoders.of_clips is not None and max(demand.frames) > 1
        found = _clip_contrasts(config, size, demand) if of_clips else _scene_contrasts(config, size)
        return encoded(balanced(found), demand.batch_size, work)
    return exchanged(data)


def balanced(found: Iterator[Contrast]) -> list[tuple[Contrast, str]]:
    """The first scenes that have a kind of word, for every kind; stops once all kinds have theirs."""
    taken: dict[str, int] = {}
    chosen = []
    for number, contrast in enumerate(found):
        for kind in contrast.wrong:
            if taken.get(kind, 0) < _PER_KIND:
                taken[kind] = taken.get(kind, 0) + 1
                chosen.append((contrast, kind))
        if number + 1 == _MAX_SCENES or (number >= 200 and min(taken.values(), default=0) == _PER_KIND):
            break
    return chosen


def encoded(chosen: Sequence[tuple[Contrast, str]], batch_size: int, work: Work) -> list[ContrastBatch]:
    """Latents and text features of chosen scenes, in batches."""
    latents = _latents([contrast.paint() for contrast, _ in chosen], work)
    captions = [c.caption for c, _ in chosen] + [c.wrong[kind] for c, kind in chosen]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(captions))}
    texts = encode_texts(work.encoders.text, list(numbers), work.device)
    rows = TextRows(torch.cat(texts), torch.tensor([len(text) for text in texts]))
    right, wrong = torch.tensor([numbers[text] for text in captions]).unflatten(0, (2, -1))
    return [
        ContrastBatch(
            latents[part].float(), rows.batch(right[part]), rows.batch(wrong[part]), tuple(k for _, k in chosen[part])
        )
        for part in (slice(start, start + batch_size) for start in range(0, len(chosen), batch_size))
    ]


def _latents(painted: Sequence[NDArray[np.uint8]], work: Work) -> Tensor:
    """Of pictures, or of clips, as the autoencoder takes either; a picture is a clip of one frame."""
    encoder = work.encoders.of_clips
    if encoder is None:
        return encode_pictures(work.encoders.autoencoder, painted, work.device, quick=True)
    clips = [each if each.ndim == 4 else each[None] for each in painted]
    return encode_clips(encoder, clips, work.device, quick=True)


def exchanged(data: TrainingData[LatentBatch]) -> list[ContrastBatch]:
    """The first micro-batches of any data, with the captions of each handed on by one; those that are alike are out."""
    batches, number, count = [], 0, 0
    while count < _MAX_FILES and number < (data.num_batches or _MAX_FILES):
        batch = data.batch(number)
        other = TextCondition(batch.text.embeds.roll(1, 0), batch.text.mask.roll(1, 0))
        differ = (batch.text.embeds != other.embeds).flatten(1).any(dim=1)  # padding is zeros
        if differ.any():
            right = TextCondition(batch.text.embeds[differ], batch.text.mask[differ])
            wrong = TextCondition(other.embeds[differ], other.mask[differ])
            batches.append(ContrastBatch(batch.latent[differ], right, wrong, (ANOTHER_CAPTION,) * int(differ.sum())))
        number, count = number + 1, count + len(batch.latent)
    return batches


def _scene_contrasts(config: ScenesData, size: int) -> Iterator[Contrast]:
    """Held-out scenes of a bank, in canonical words."""
    from sanakit.features.scenes import open_bank
    from sanakit.worlds.drawing.compose import compose
    from sanakit.worlds.telling.captions import canonical_caption
    from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, wrong_caption
    from sanakit.worlds.world_scenes import WorldScenes

    bank = open_bank(config.bank, config.names)
    scenes = WorldScenes(bank, "heldout", config.seed)
    for index in range(_MAX_SCENES):
        scene, _ = scenes.truth(index)
        rng = np.random.default_rng((config.seed, index))
        found = {kind: wrong_caption(scene, rng, kind, bank) for kind in WRONG_WORDS}
        wrong: dict[str, str] = {kind: text for kind, text in found.items() if text is not None}
        yield Contrast(partial(compose, scene, bank, size), canonical_caption(scene, bank), wrong)


def _clip_contrasts(config: ScenesData, size: int, demand: Demand) -> Iterator[Contrast]:
    """Held-out scenes in motion, with the opposite motion or speed beside the wrong words of pictures."""
    from sanakit.features.scenes import Paintings, one_rate, open_bank
    from sanakit.worlds.telling.captions import canonical_caption
    from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, wrong_caption, wrong_motions
    from sanakit.worlds.world_scenes import WorldScenes

    bank = open_bank(config.bank, config.names)
    scenes = WorldScenes(bank, "heldout", config.seed, moving=True)
    paintings = Paintings(bank, config.seed, "heldout", fps=one_rate(demand))
    for index in range(_MAX_SCENES):
        scene, _ = scenes.truth(index)
        if not paintings.moves(index):
            continue
        rng = np.random.default_rng((config.seed, index))
        found = {kind: wrong_caption(scene, rng, kind, bank) for kind in WRONG_WORDS}
        wrong: dict[str, str] = {kind: text for kind, text in found.items() if text is not None}
        wrong |= {kind: canonical_caption(other, bank) for kind, other in wrong_motions(scene).items()}
        paint = partial(paintings.paint_clip, 0, index, size, max(demand.frames))
        yield Contrast(paint, canonical_caption(scene, bank), wrong)
