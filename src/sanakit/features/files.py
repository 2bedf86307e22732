"""A user's pictures with captions, in any layout, as micro-batches of latents and text features."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import as_path
from sanakit.data.buckets import assign_bins, training_bins
from sanakit.data.caption_choice import CaptionChoice, best_score, caption_probabilities, choose_caption
from sanakit.data.fates import never_drawn
from sanakit.data.open import open_data
from sanakit.data.order import BatchOrder
from sanakit.data.sources.data_source import DataSource
from sanakit.features import file_latents
from sanakit.features.batches import LatentBatch, NamedSample, OrderedData
from sanakit.features.caching import cache_texts, kept_samples, latent_store, tell_dropped, tell_fates, text_store
from sanakit.features.configs import FilesData
from sanakit.features.encoders import Encoders
from sanakit.features.identity import identity_of_files
from sanakit.features.pixel_tensors import cut_texts
from sanakit.features.work import Demand, Work
from sanakit.models.text.text_condition import TextCondition

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Captions:
    """How one of a sample's captions is drawn, and what stands behind it, by the index into the source."""

    choice: CaptionChoice
    seed: int
    suffixes: Mapping[int, str] = field(default_factory=dict)

    def of(self, source: DataSource, index: int, epoch: int) -> str:
        """The text of an epoch; "" of a sample without captions, whose text features lie beside its latent."""
        sample = source[index]
        if not sample.captions:
            return ""
        place = choose_caption(sample.captions, self.choice, seed=self.seed, epoch=epoch, key=sample.key)
        return sample.captions[place].text + self.suffixes.get(index, "")


class FileLatents(OrderedData):
    """Micro-batches of a data set on disk."""

    def __init__(
        self,
        source: DataSource,
        samples: Sequence[int],
        order: BatchOrder,
        latents: file_latents.Latents,
        texts: file_latents.Texts,
        captions: Captions,
    ) -> None:
        """
        Args:
            samples: indices into the source, by the index that ``order`` knows them under.
        """
        super().__init__(order)
        self._source, self._samples = source, samples
        self._latents, self._texts, self._captions = latents, texts, captions

    def keys(self, number: int) -> list[str]:
        """The samples of a micro-batch."""
        return [self._source[self._samples[index]].key for index in self._order[number].indices]

    def describe(self, number: int) -> list[NamedSample]:
        """The samples of a micro-batch with the captions of its epoch."""
        micro = self._order[number]
        indices = [self._samples[index] for index in micro.indices]
        return [
            NamedSample(
                self._source[index].key,
                self._source.file_of(index),
                self._captions.of(self._source, index, micro.epoch),
            )
            for index in indices
        ]

    def batch(self, number: int) -> LatentBatch:
        """Latents ``(B, C, h, w)`` and text ``(B, L, C)``, both float32."""
        micro = self._order[number]
        indices = [self._samples[index] for index in micro.indices]
        texts = [self._captions.of(self._source, index, micro.epoch) for index in indices]
        return LatentBatch(self._latents(indices, micro.height, micro.width), pad_texts(self._texts(indices, texts)))


def pad_texts(texts: Sequence[tuple[Tensor, Tensor]], *, multiple: int = 8) -> TextCondition:
    """Texts ``(L, C)`` with masks ``(L,)`` at one length, that of the longest rounded up; zeros where the mask is
    False."""
    length = -(-max(len(embeds) for embeds, _ in texts) // multiple) * multiple
    padded = torch.zeros(len(texts), length, texts[0][0].shape[1])
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    for row, (embeds, real) in enumerate(texts):
        padded[row, : len(embeds)] = embeds * real[:, None]
        mask[row, : len(embeds)] = real
    return TextCondition(padded, mask)


def open_files(config: FilesData, demand: Demand, work: Work) -> FileLatents:
    """See ``latent_data``. What is left out, and why, is logged."""
    source = open_data(as_path(config.path), min_size=config.min_size, also=config.also, caption=config.prompt)
    tell_fates(source)
    samples = passing_samples(source, config)
    if source.has_latents() and work.annotation is not None:
        raise RequestError(f"{source.path} holds latents, and a ControlNet learns from pictures; name the data before")
    if source.has_latents():
        return _open_features(source, samples, config, demand, work)
    bins = bins_of(source, samples, demand.resolutions, work.encoders)
    latents = file_latents.encoded_latents(source, work)
    if not config.cache:
        demand.on_identity(identity_of_files(source, samples))
    else:
        store = latent_store(config.cache_folder, work.encoders)
        digests, unread = file_latents.file_digests(source, samples, work)
        demand.on_identity(identity_of_files(source, samples, digests))
        cached = file_latents.cache_latents(source, samples, digests, bins, store, work)
        good = np.array([key in cached.store for key in cached.keys], bool)
        known = {problem.key: problem.detail for problem in (*unread, *cached.problems)}
        bad = [source[index].key for index, is_good in zip(samples, good, strict=True) if not is_good]
        tell_dropped("cannot be decoded", {key: known.get(key, "found by another process") for key in bad}, source)
        keys = dict(zip(samples, cached.keys, strict=True))
        latents = file_latents.stored_latents(cached.store, [keys.get(index, "") for index in range(len(source))])
        samples, bins = [index for index, is_good in zip(samples, good, strict=True) if is_good], bins[good]
    check_any(samples, source)
    tell_captions(source, samples, config, work)
    texts = texts_of(source, samples, config, work)
    order = BatchOrder(bins, batch_size=demand.batch_size, seed=demand.seed)
    return FileLatents(source, samples, order, latents, texts, Captions(choice=config.caption_choice, seed=demand.seed))


def bins_of(
    source: DataSource, samples: Sequence[int], resolutions: Sequence[int], encoders: Encoders
) -> NDArray[np.int64]:
    """Height and width ``(samples, 2)`` that each is brought to."""
    sizes = np.array([(source[index].height, source[index].width) for index in samples], np.int64).reshape(-1, 2)
    return assign_bins(sizes, resolutions, multiple=encoders.compression)


def passing_samples(source: DataSource, config: FilesData) -> list[int]:
    """Samples that are not named in ``leave_out``, and whose best caption has no score or not less than ``drop_below``;
    those left out are logged.

    Raises:
        RequestError: a key of ``leave_out`` is no sample.
    """
    samples, drop_below = kept_samples(source, config.leave_out), config.drop_below
    if drop_below is None:
        return samples
    scores = {index: best_score(source[index].captions) for index in samples}
    low = {index: score for index, score in scores.items() if score is not None and score < drop_below}
    tell_dropped(f"score less than {drop_below:g}", {source[i].key: f"{score:g}" for i, score in low.items()}, source)
    return [index for index in samples if index not in low]


def possible_captions(
    source: DataSource, samples: Sequence[int], choice: CaptionChoice, suffixes: Mapping[int, str] | None = None
) -> list[str]:
    """Every text that a sample may be shown with, each once."""
    texts: dict[str, None] = {}
    for index in samples:
        captions, suffix = source[index].captions, (suffixes or {}).get(index, "")
        if captions:
            shares = caption_probabilities(captions, choice)
            texts.update(
                (caption.text + suffix, None) for caption, share in zip(captions, shares, strict=True) if share > 0
            )
    return list(texts)


def caption_notes(source: DataSource, samples: Sequence[int], choice: CaptionChoice, work: Work) -> list[str]:
    """A sentence about each kind of captions that training never sees, or sees without their ends."""
    notes, encoder = never_drawn(source, samples, choice), work.encoders.text
    texts = set(cut_texts(encoder, possible_captions(source, samples, choice)))
    total = sum(len(source[index].captions) for index in samples)
    cut = [
        (source[index].key, caption.text)
        for index in (samples if texts else ())
        for caption in source[index].captions
        if caption.text in texts
    ]
    if cut:
        shown = ", ".join(f"{encoder.count_tokens(text).dropped} tokens of {key}" for key, text in cut[:3])
        notes.append(
            f"{len(cut)} of {total} captions have more than the {encoder.config.max_tokens} tokens that the "
            f"model reads; their ends are cut, {shown}{', ...' if len(cut) > 3 else ''}: put what matters first"
        )
    return notes


def texts_of(
    source: DataSource, samples: Sequence[int], config: FilesData, work: Work, suffixes: Mapping[int, str] | None = None
) -> file_latents.Texts:
    """Features of their captions, from the cache or as they are asked for."""
    if not config.cache:
        return file_latents.encoded_texts(work)
    store = text_store(config.cache_folder, work.encoders)
    keys, _ = cache_texts(possible_captions(source, samples, config.caption_choice, suffixes), store, work, exact=True)
    return file_latents.stored_texts(store, keys)


def tell_captions(source: DataSource, samples: Sequence[int], config: FilesData, work: Work) -> None:
    """Log what training never sees of captions."""
    for note in caption_notes(source, samples, config.caption_choice, work):
        logger.warning("%s: %s", source.path, note)


def _open_features(
    source: DataSource, samples: Sequence[int], config: FilesData, demand: Demand, work: Work
) -> FileLatents:
    """Cached features: their latents have their shapes already, and those of other resolutions are left out."""
    samples, shapes = _usable_latents(source, samples, work.encoders)
    demand.on_identity(identity_of_files(source, samples))
    bins = [training_bins(size, multiple=work.encoders.compression).sizes for size in demand.resolutions]
    wanted = {tuple(size) for sizes in bins for size in sizes.tolist()}
    found = list(zip(samples, shapes, strict=True))
    others = {source[index].key: f"{h}x{w} px" for index, (h, w) in found if (h, w) not in wanted}
    tell_dropped(f"have no shape of {', '.join(map(str, demand.resolutions))} px", others, source)
    samples = [index for index, shape in found if shape in wanted]
    check_any(samples, source)
    bare = [index for index in samples if not source.has_text_features(index)]
    if bare:
        tell_captions(source, bare, config, work)
    otherwise = texts_of(source, bare, config, work) if bare else None
    texts = file_latents.shard_texts(source, otherwise, lambda: work.encoders.text_channels)
    texts([index for index in samples if source.has_text_features(index)][:1], [""])  # refused here, not in the run
    kept = [shape for shape in shapes if shape in wanted]
    order = BatchOrder(kept, batch_size=demand.batch_size, seed=demand.seed)
    latents = file_latents.shard_latents(source)
    return FileLatents(source, samples, order, latents, texts, Captions(choice=config.caption_choice, seed=demand.seed))


def _usable_latents(
    source: DataSource, samples: Sequence[int], encoders: Encoders
) -> tuple[list[int], list[tuple[int, int]]]:
    """Samples whose latents can be read, and the ``(height, width)`` of their pictures in pixels."""
    good, shapes, bad = [], [], {}
    for index in samples:
        try:
            channels, height, width = source.latent_shape(index)
        except PictureError as error:
            bad[source[index].key] = str(error)
            continue
        if channels != encoders.latent_channels:
            raise RequestError(
                f"the latents of {source.path} have {channels} channels, and the autoencoder makes "
                f"{encoders.latent_channels}; they were made by another one"
            )
        good.append(index)
        shapes.append((height * encoders.compression, width * encoders.compression))
    tell_dropped("cannot be read", bad, source)
    return good, shapes


def check_any(samples: Sequence[int], source: DataSource) -> None:
    """Raises RequestError where nothing is left."""
    if not samples:
        raise RequestError(
            f"{source.path} holds no picture that could be trained on; `sanakit data validate {source.path}` lists "
            f"what is wrong with each"
        )
