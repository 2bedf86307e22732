"""A user's clips and pictures with captions as micro-batches of latents of clips: lengths and rates by clip, motion
scores as suffixes of captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sanakit.common.errors import PictureError
from sanakit.common.ranks import wait_for_all
from sanakit.common.user_cache import cached_facts, recall, remember
from sanakit.data.buckets import assign_bins
from sanakit.data.clip_bins import Cut, check_lengths, cut_of
from sanakit.data.clips import READING_CLIPS, motion_score
from sanakit.data.fitting import fit_to_bin, resize_rule
from sanakit.data.pictures import READING
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource
from sanakit.features.caching import fill_store, latent_key
from sanakit.features.file_latents import NUM_THREADS, CachedLatents, Latents
from sanakit.features.pixel_tensors import encode_clips
from sanakit.features.store import FeatureStore
from sanakit.features.work import Demand, Work

ALONE = "alone"  # of the keys of clips: each is encoded by itself


@dataclass(frozen=True, slots=True)
class ClipShapes:
    """What becomes of clips and pictures of a data set.

    ``samples`` are their indices, ``cuts`` lengths and rates, ``bins (samples, 3)`` frames, height and width.
    """

    samples: list[int]
    cuts: list[Cut]
    bins: NDArray[np.int64]
    too_short: Mapping[str, str]  # by key, what they have

    def only(self, kept: Sequence[bool]) -> ClipShapes:
        """Some of the samples."""
        places = [place for place, is_kept in enumerate(kept) if is_kept]
        chosen = [self.samples[place] for place in places], [self.cuts[place] for place in places]
        return ClipShapes(*chosen, self.bins[places], self.too_short)


def shapes_of(source: DataSource, samples: Sequence[int], demand: Demand, work: Work) -> ClipShapes:
    """Each at its length, rate and bin; those that are shorter than the shortest length are left out.

    Raises:
        RequestError: a length does not suit the autoencoder.
    """
    encoder = work.encoders.of_clips
    assert encoder is not None
    check_lengths(demand.frames, encoder.config.temporal_compression)
    found = [(index, cut_of(source[index].clip, demand.frames, demand.fps)) for index in samples]
    kept = [(index, cut) for index, cut in found if cut is not None]
    sizes = np.array([(source[index].height, source[index].width) for index, _ in kept], np.int64).reshape(-1, 2)
    sides = assign_bins(sizes, demand.resolutions, multiple=encoder.config.compression * demand.patch)
    frames = np.array([cut.num_frames for _, cut in kept], np.int64)
    short = {source[index].key: _length(source, index) for index, cut in found if cut is None}
    return ClipShapes([i for i, _ in kept], [cut for _, cut in kept], np.column_stack([frames, sides]), short)


def _length(source: DataSource, index: int) -> str:
    clip = source[index].clip
    return "a picture, and no length is 1" if clip is None else f"{clip.seconds:.2f} s at {clip.fps:g} frames a second"


def cache_clips(
    source: DataSource, shapes: ClipShapes, digests: Sequence[str], store: FeatureStore, work: Work
) -> CachedLatents:
    """Compute the latents that the store lacks, each rank a share; see ``cache_latents``."""
    problems: list[Problem] = []
    keys = [_key(source, place, shapes, digest, work) if digest else "" for place, digest in enumerate(digests)]
    places = {key: place for place, key in reversed(list(enumerate(keys))) if key}
    encoder = work.encoders.of_clips
    assert encoder is not None

    def compute(missing: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        read = partial(_read, source, shapes)
        with ThreadPoolExecutor(NUM_THREADS) as threads:
            for start in range(0, len(missing), NUM_THREADS):  # few at once: a clip of 81 frames of 480p is 100 MB
                part = missing[start : start + NUM_THREADS]
                for key, clip in zip(part, threads.map(read, [places[key] for key in part]), strict=True):
                    if isinstance(clip, PictureError):
                        sample = source[shapes.samples[places[key]]]
                        problems.append(Problem(key=sample.key, reason="undecodable", detail=str(clip)))
                    else:
                        yield key, encode_clips(encoder, [clip], work.device)[0]

    spent = fill_store(store, list(places), compute, work, what="clips")
    return CachedLatents(store, keys, spent, problems)


def _key(source: DataSource, place: int, shapes: ClipShapes, digest: str, work: Work) -> str:
    frames, height, width = shapes.bins[place].tolist()
    rule = f"reading {READING}, cover {resize_rule(height, width)} centre"
    if source[shapes.samples[place]].clip is not None:
        rule += f", clip {READING_CLIPS} of {frames} frames at {shapes.cuts[place].fps:g}"
    return latent_key(digest, height, width, rule, ALONE, work.encoders)


def _read(source: DataSource, shapes: ClipShapes, place: int) -> NDArray[np.uint8] | PictureError:
    """``(T, H, W, 3)`` at the size of the bin."""
    cut, (_, height, width) = shapes.cuts[place], shapes.bins[place].tolist()
    try:
        frames = source.frames(shapes.samples[place], num_frames=cut.num_frames, fps=cut.fps)
    except PictureError as error:
        return error
    return np.stack([fit_to_bin(Image.fromarray(frame), height, width) for frame in frames])


def encoded_clips(source: DataSource, shapes: ClipShapes, work: Work) -> Latents:
    """Clips are decoded and encoded whenever they are asked for."""
    places = {index: place for place, index in enumerate(shapes.samples)}

    def encode(indices: Sequence[int], height: int, width: int) -> Tensor:
        clips = [_read(source, shapes, places[index]) for index in indices]
        for index, clip in zip(indices, clips, strict=True):
            if isinstance(clip, PictureError):
                raise PictureError(f"clip {source[index].key} of {source.path} cannot be used: {clip}") from clip
        good = [clip for clip in clips if not isinstance(clip, PictureError)]
        encoder = work.encoders.of_clips
        assert encoder is not None
        return encode_clips(encoder, good, work.device).float()

    return encode


def motion_suffixes(source: DataSource, shapes: ClipShapes, work: Work) -> dict[int, str]:
    """`` motion score: N.`` of every clip by its index, "" of pictures; scores are kept in the user's cache by what
    tells a file and its cut from another's, and every rank computes those that are missing."""
    kept = cached_facts("motions", source.path)
    known = recall(kept)
    known = dict(known) if isinstance(known, dict) else {}
    moving = [place for place, cut in enumerate(shapes.cuts) if cut.num_frames > 1]
    names = {place: _name_of_cut(source, shapes, place) for place in moving}
    missing = [place for place in moving if names[place] not in known]
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        for done, (place, score) in enumerate(
            zip(missing, threads.map(partial(_score, source, shapes), missing), strict=True), start=1
        ):
            known[names[place]] = score
            work.on_progress(done, len(missing), "motion")
    if missing and work.ranks.rank == 0:
        remember(kept, {name: score for name, score in known.items() if not name.startswith("?")})
    wait_for_all(work.ranks)
    scores: dict[int, int] = {shapes.samples[place]: int(known[names[place]]) for place in moving}
    return {index: f" motion score: {score}." if (score := scores.get(index, 0)) else "" for index in shapes.samples}


def _name_of_cut(source: DataSource, shapes: ClipShapes, place: int) -> str:
    index, cut = shapes.samples[place], shapes.cuts[place]
    stamp = source.stamp(index) or f"?{index}"  # of a file that was written just now nothing is remembered
    return f"{stamp} {cut.num_frames} at {cut.fps:g}, reading {READING_CLIPS}"


def _score(source: DataSource, shapes: ClipShapes, place: int) -> int:
    cut = shapes.cuts[place]
    try:
        frames = source.frames(shapes.samples[place], num_frames=cut.num_frames, fps=cut.fps)
    except PictureError:
        return 0  # which is told when its latent is made
    return motion_score(frames, cut.fps)
