"""Filling the cache ahead of a run: what ``sanakit data cache`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.data.open import open_data
from sanakit.data.samples import Problem
from sanakit.features.caching import Spent, cache_folder, cache_texts, latent_store, text_store
from sanakit.features.configs import FilesData
from sanakit.features.file_latents import cache_latents, file_digests
from sanakit.features.files import bins_of, caption_notes, passing_samples, possible_captions
from sanakit.features.work import Work


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheReport:
    """What is cached now.

    ``bins`` counts pictures by ``"HxW"``; ``problems`` are of opening and of decoding, each with its key.
    """

    folder: Path
    num_samples: int
    latents: Spent
    texts: Spent
    bins: dict[str, int]
    problems: tuple[Problem, ...]
    dropped: tuple[str, ...]  # keys of pictures that score too low
    notes: tuple[str, ...]  # sentences about files that are not used, and captions that training does not see whole


def cache_files(config: FilesData, resolutions: Sequence[int], work: Work) -> CacheReport:
    """Compute every feature that a stage at these resolutions needs and the cache does not have.

    Raises:
        RequestError: there is no such data, or it holds cached features already.
        OutputError: the cache cannot be written; what was finished stays.
    """
    source = open_data(as_path(config.path), min_size=config.min_size, also=config.also, caption=config.prompt)
    if source.has_latents():
        raise RequestError(f"{source.path} holds cached features already; a recipe uses them as they are")
    samples = passing_samples(source, config)
    dropped = {source[index].key for index in range(len(source))} - {source[index].key for index in samples}
    bins = bins_of(source, samples, resolutions, work.encoders)
    digests, unread = file_digests(source, samples, work)
    cached = cache_latents(source, samples, digests, bins, latent_store(config.cache_folder, work.encoders), work)
    good = [place for place, key in enumerate(cached.keys) if key in cached.store]
    used = [samples[place] for place in good]
    texts = possible_captions(source, used, config.caption_choice)
    notes = caption_notes(source, used, config.caption_choice, work)
    _, spent = cache_texts(texts, text_store(config.cache_folder, work.encoders), work, exact=True)
    return CacheReport(
        folder=cache_folder(config.cache_folder),
        num_samples=len(good),
        latents=cached.spent,
        texts=spent,
        bins=dict(Counter(f"{height}x{width}" for height, width in sorted(bins[good].tolist()))),
        problems=(*source.problems, *unread, *cached.problems),
        dropped=tuple(sorted(dropped)),
        notes=(*(f"not used, {sentence}" for sentence in source.unused_files), *notes),
    )
