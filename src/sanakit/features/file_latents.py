"""Latents and text features of a user's files: found in the store, computed there once, or computed as needed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.ranks import wait_for_all
from sanakit.common.user_cache import cached_facts, recall, remember
from sanakit.data.fitting import fit_to_bin, resize_rule
from sanakit.data.pictures import READING
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource
from sanakit.features.caching import Spent, fill_store, latent_key
from sanakit.features.pixel_tensors import EXACT, encode_pictures, encode_texts, rows_at_once
from sanakit.features.store import FeatureStore
from sanakit.features.work import Work

logger = logging.getLogger(__name__)
NUM_THREADS = 4  # that read and decode pictures while the encoder works


@dataclass(slots=True)
class CachedLatents:
    """Latents that the cache has now."""

    store: FeatureStore
    keys: list[str]  # of every index that was asked for; "" where the file could not be read
    spent: Spent
    problems: list[Problem]  # found by this process


def cache_latents(
    source: DataSource,
    indices: Sequence[int],
    digests: Sequence[str],
    bins: NDArray[np.int64],
    store: FeatureStore,
    work: Work,
) -> CachedLatents:
    """Compute the latents that the store lacks, each rank a share.

    Args:
        indices: samples of the source.
        digests: SHA-256 of their files.
        bins: ``(indices, 2)``, height and width that each is brought to.

    A picture that cannot be decoded stays missing from the store, on every rank, and is a problem with its key.
    """
    problems: list[Problem] = []
    keys = []
    for digest, (height, width) in zip(digests, bins.tolist(), strict=True):
        rule = f"reading {READING}, cover {resize_rule(height, width)} centre"
        keys.append(latent_key(digest, height, width, work.rule(rule), EXACT, work.encoders) if digest else "")
    places = {key: place for place, key in reversed(list(enumerate(keys))) if key}

    def compute(missing: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        order = sorted((places[key] for key in missing), key=lambda place: (*bins[place].tolist(), place))
        with ThreadPoolExecutor(NUM_THREADS) as threads:
            for group in _groups(order, bins, work.device):
                own, (height, width) = [indices[place] for place in group], bins[group[0]].tolist()
                pictures = threads.map(_read, repeat(source), own, repeat(height), repeat(width))
                found = list(zip(group, pictures, strict=True))
                good = [(place, picture) for place, picture in found if not isinstance(picture, PictureError)]
                bad = [(indices[place], error) for place, error in found if isinstance(error, PictureError)]
                problems.extend(_undecodable(source, index, error) for index, error in bad)
                if good:
                    shown = work.shown([picture for _, picture in good])
                    latents = encode_pictures(work.encoders.autoencoder, shown, work.device)
                    yield from ((keys[place], latent) for (place, _), latent in zip(good, latents, strict=True))

    spent = fill_store(store, list(places), compute, work, what="pictures")
    return CachedLatents(store, keys, spent, problems)


def file_digests(source: DataSource, indices: Sequence[int], work: Work) -> tuple[list[str], list[Problem]]:
    """SHA-256 of every picture file in hex, "" where one cannot be read, and why not as far as this process knows.

    Each rank reads a share of those that have changed since the last time: digests are kept by stamp in the user's
    cache, so that a large data set is not read whole each time.
    """
    ranks, kept, problems = work.ranks, cached_facts("digests", source.path), list[Problem]()
    own = range(ranks.rank, len(indices), ranks.world)
    # taken before any reading, so that a change during it shows the next time
    known, stamps = recall(kept), [source.stamp(index) for index in indices]
    known = known if isinstance(known, dict) else {}

    def digest_of(place: int) -> bytes | PictureError:
        index, stamp = indices[place], stamps[place]
        if stamp is not None and stamp in known:
            return bytes.fromhex(known[stamp])
        try:
            return hashlib.sha256(source.read_bytes(index)).digest()
        except PictureError as error:
            return error

    table = torch.zeros(-(-len(indices) // ranks.world), 32, dtype=torch.uint8)
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        for row, (place, found) in enumerate(zip(own, threads.map(digest_of, own), strict=True)):
            if isinstance(found, PictureError):
                problems.append(_undecodable(source, indices[place], found))
            else:
                table[row] = torch.frombuffer(bytearray(found), dtype=torch.uint8)
            work.on_progress(row + 1, len(own), "reading files")
    tables = [table]
    if ranks.world > 1:
        tables = [torch.empty_like(table) for _ in range(ranks.world)]
        torch.distributed.all_gather(tables, table)
    wait_for_all(ranks)
    rows = [tables[place % ranks.world][place // ranks.world] for place in range(len(indices))]
    digests = [bytes(row.tolist()).hex() if row.any() else "" for row in rows]
    if ranks.rank == 0:
        pairs = zip(stamps, digests, strict=True)
        remember(kept, {stamp: digest for stamp, digest in pairs if stamp is not None and digest})
    return digests, problems


def _groups(order: Sequence[int], bins: NDArray[np.int64], device: str) -> Iterator[Sequence[int]]:
    """Places of one bin, as many as go through the encoder at once."""
    start = 0
    while start < len(order):
        height, width = bins[order[start]].tolist()
        end = start
        while end < len(order) and bins[order[end]].tolist() == [height, width]:
            end += 1
        rows = rows_at_once(height, width, device)
        yield from (order[first : min(first + rows, end)] for first in range(start, end, rows))
        start = end


def _read(source: DataSource, index: int, height: int, width: int) -> NDArray[np.uint8] | PictureError:
    try:
        return fit_to_bin(source.image(index), height, width)
    except PictureError as error:
        return error


def _undecodable(source: DataSource, index: int, error: PictureError) -> Problem:
    return Problem(key=source[index].key, reason="undecodable", detail=str(error))


Latents = Callable[[Sequence[int], int, int], Tensor]
"""Samples and their bin to latents ``(B, C, h, w)`` float32."""
Texts = Callable[[Sequence[int], Sequence[str]], list[tuple[Tensor, Tensor]]]
"""Samples and their captions to embeds ``(L, C)`` and mask ``(L,)`` of each."""


def stored_latents(store: FeatureStore, keys: Sequence[str]) -> Latents:
    """Read from the cache; ``keys`` by the index of the sample."""
    return lambda indices, height, width: torch.stack([store.get(keys[index]) for index in indices]).float()


def stored_texts(store: FeatureStore, keys: dict[str, str]) -> Texts:
    """Read from the cache; ``keys`` by text."""
    return lambda indices, texts: [_all_real(store.get(keys[text])) for text in texts]


def encoded_latents(source: DataSource, work: Work) -> Latents:
    """Pictures are decoded and encoded whenever they are asked for."""
    lock = Lock()

    def encode(indices: Sequence[int], height: int, width: int) -> Tensor:
        pictures = [fit_named(source, index, height, width) for index in indices]
        with lock:
            return encode_pictures(work.encoders.autoencoder, work.shown(pictures), work.device).float()

    return encode


def encoded_texts(work: Work) -> Texts:
    """Captions are encoded whenever they are asked for."""
    lock = Lock()

    def encode(indices: Sequence[int], texts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        with lock:
            return [_all_real(embeds) for embeds in encode_texts(work.encoders.text, texts, work.device, exact=True)]

    return encode


def fit_named(source: DataSource, index: int, height: int, width: int) -> NDArray[np.uint8]:
    """The picture at the size of its bin; ``PictureError`` with the key of the sample if it cannot be decoded."""
    picture = _read(source, index, height, width)
    if isinstance(picture, PictureError):
        raise PictureError(
            f"picture {source[index].key} of {source.path} cannot be used: {picture}; `sanakit data validate "
            f"{source.path}` lists all such pictures"
        ) from picture
    return picture


def shard_latents(source: DataSource) -> Latents:
    """Cached latents as they are in the data set."""

    def read(indices: Sequence[int], height: int, width: int) -> Tensor:
        return torch.stack([torch.from_numpy(source.latent(index).astype(np.float32)) for index in indices])

    return read


def shard_texts(source: DataSource, otherwise: Texts | None, width: Callable[[], int]) -> Texts:
    """Text features beside the latents where the data set has them, those of the captions where not.

    Args:
        width: channels of what the text encoder makes; asked where there are features.

    Reading raises ``RequestError`` where features have another width.
    """

    def read(indices: Sequence[int], texts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        found = []
        for index, text in zip(indices, texts, strict=True):
            features = source.text_features(index)
            if features is None:
                assert otherwise is not None
                found += otherwise([index], [text])
            else:
                if features.embeds.shape[1] != width():
                    raise RequestError(
                        f"the text features of {source[index].key} in {source.path} have {features.embeds.shape[1]} "
                        f"channels, and the text encoder makes {width()}; they were made by another one"
                    )
                embeds, mask = np.asarray(features.embeds, np.float32), np.asarray(features.mask, bool)
                kept = int(np.flatnonzero(mask)[-1]) + 1 if mask.any() else 1  # upstream pads to 300
                found.append((torch.from_numpy(embeds[:kept]), torch.from_numpy(mask[:kept])))
        return found

    return read


def _all_real(embeds: Tensor) -> tuple[Tensor, Tensor]:
    return embeds, torch.ones(len(embeds), dtype=torch.bool)
