"""A user's clips and pictures as the training data of a model of clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.data.open import open_data
from sanakit.data.order import BatchOrder
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource
from sanakit.features.caching import latent_store, tell_dropped, tell_fates
from sanakit.features.clips.latents import ClipShapes, cache_clips, encoded_clips, motion_suffixes, shapes_of
from sanakit.features.configs import FilesData
from sanakit.features.file_latents import CachedLatents, Latents, file_digests, stored_latents
from sanakit.features.files import Captions, FileLatents, check_any, passing_samples, tell_captions, texts_of
from sanakit.features.identity import identity_of_files
from sanakit.features.work import Demand, Work


def open_clips(config: FilesData, demand: Demand, work: Work) -> FileLatents:
    """See ``latent_data``. What is left out, and why, is logged."""
    source = open_data(as_path(config.path), min_size=config.min_size, also=config.also, caption=config.prompt)
    if source.has_latents() or work.annotation is not None:
        raise RequestError(f"{source.path} cannot train a model of clips: that learns from clips and pictures as such")
    tell_fates(source)
    shapes = shapes_of(source, passing_samples(source, config), demand, work)
    tell_dropped(f"are too short for frames={list(demand.frames)}", shapes.too_short, source)
    if config.cache:
        cached = cached_clips(source, shapes, config, demand, work)
        tell_dropped("cannot be decoded", {problem.key: problem.detail for problem in cached.problems}, source)
        shapes, latents = cached.shapes, cached.latents
    else:
        demand.on_identity(identity_of_files(source, shapes.samples))
        latents = encoded_clips(source, shapes, work)
    check_any(shapes.samples, source)
    tell_captions(source, shapes.samples, config, work)
    suffixes = motion_suffixes(source, shapes, work) if config.motion_score else {}
    texts = texts_of(source, shapes.samples, config, work, suffixes)
    order = BatchOrder(shapes.bins, batch_size=demand.batch_size, seed=demand.seed)
    captions = Captions(choice=config.caption_choice, seed=demand.seed, suffixes=suffixes)
    return FileLatents(source, shapes.samples, order, latents, texts, captions)


@dataclass(frozen=True, slots=True)
class CachedClips:
    """Those that the cache has now, what was spent on it, and what is wrong with the others."""

    shapes: ClipShapes
    latents: Latents
    found: CachedLatents
    problems: list[Problem]


def cached_clips(source: DataSource, shapes: ClipShapes, config: FilesData, demand: Demand, work: Work) -> CachedClips:
    """Compute what the cache lacks."""
    store = latent_store(config.cache_folder, work.encoders)
    digests, unread = file_digests(source, shapes.samples, work)
    demand.on_identity(identity_of_files(source, shapes.samples, digests))
    found = cache_clips(source, shapes, digests, store, work)
    keys = dict(zip(shapes.samples, found.keys, strict=True))
    good = np.array([key in found.store for key in found.keys], bool)
    latents = stored_latents(found.store, [keys.get(index, "") for index in range(len(source))])
    return CachedClips(shapes.only(good.tolist()), latents, found, [*unread, *found.problems])
