"""Filling the cache ahead of a run: what ``sanakit data cache`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.data.open import open_data
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource
from sanakit.features.caching import Spent, cache_folder, cache_texts, latent_store, text_store
from sanakit.features.clips.files import cached_clips
from sanakit.features.clips.latents import motion_suffixes, shapes_of
from sanakit.features.configs import FilesData
from sanakit.features.file_latents import cache_latents, file_digests
from sanakit.features.files import bins_of, caption_notes, passing_samples, possible_captions
from sanakit.features.work import Demand, Work


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheReport:
    """What is cached now.

    ``bins`` counts pictures by ``"HxW"`` and clips by ``"HxW, T frames"``; ``problems`` are of opening and of decoding,
    each with its key.
    """

    folder: Path
    num_samples: int
    latents: Spent
    texts: Spent
    bins: dict[str, int]
    problems: tuple[Problem, ...]
    dropped: tuple[str, ...]  # keys of pictures that score too low
    notes: tuple[str, ...]  # sentences about files that are not used, and captions that training does not see whole


def cache_files(config: FilesData, demand: Demand, work: Work) -> CacheReport:
    """Compute every feature that a stage of these sizes needs and the cache does not have.

    Raises:
        RequestError: there is no such data, or it holds cached features already.
        OutputError: the cache cannot be written; what was finished stays.
    """
    source = open_data(as_path(config.path), min_size=config.min_size, also=config.also, caption=config.prompt)
    if source.has_latents():
        raise RequestError(f"{source.path} holds cached features already; a recipe uses them as they are")
    samples = passing_samples(source, config)
    dropped = {source[index].key for index in range(len(source))} - {source[index].key for index in samples}
    made = (_pictures if work.encoders.of_clips is None else _clips)(source, samples, config, demand, work)
    used = made.samples
    texts = possible_captions(source, used, config.caption_choice, made.suffixes)
    notes = caption_notes(source, used, config.caption_choice, work)
    _, spent = cache_texts(texts, text_store(config.cache_folder, work.encoders), work, exact=True)
    return CacheReport(
        folder=cache_folder(config.cache_folder),
        num_samples=len(used),
        latents=made.spent,
        texts=spent,
        bins=dict(Counter(made.bins)),
        problems=(*source.problems, *made.problems),
        dropped=tuple(sorted(dropped)),
        notes=(*(f"not used, {sentence}" for sentence in source.unused_files), *notes),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """Latents of these samples, the bin of each in words, and what stands behind their captions."""

    samples: list[int]
    bins: list[str]
    spent: Spent
    problems: tuple[Problem, ...]
    suffixes: Mapping[int, str] = field(default_factory=dict)


def _pictures(source: DataSource, samples: Sequence[int], config: FilesData, demand: Demand, work: Work) -> _Made:
    bins = bins_of(source, samples, demand.resolutions, work.encoders)
    digests, unread = file_digests(source, samples, work)
    cached = cache_latents(source, samples, digests, bins, latent_store(config.cache_folder, work.encoders), work)
    good = [place for place, key in enumerate(cached.keys) if key in cached.store]
    return _Made(
        samples=[samples[place] for place in good],
        bins=[f"{height}x{width}" for height, width in sorted(bins[good].tolist())],
        spent=cached.spent,
        problems=(*unread, *cached.problems),
    )


def _clips(source: DataSource, samples: Sequence[int], config: FilesData, demand: Demand, work: Work) -> _Made:
    shapes = shapes_of(source, samples, demand, work)
    short = (Problem(key=key, reason="too_short", detail=f"it is {what}") for key, what in shapes.too_short.items())
    cached = cached_clips(source, shapes, config, demand, work)
    suffixes = motion_suffixes(source, cached.shapes, work) if config.motion_score else {}
    return _Made(
        samples=cached.shapes.samples,
        bins=[f"{height}x{width}, {frames} frames" for frames, height, width in sorted(cached.shapes.bins.tolist())],
        spent=cached.found.spent,
        problems=(*short, *cached.problems),
        suffixes=suffixes,
    )
