"""Computing the features that a stage needs and the store does not have yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.common.ranks import wait_for_all
from sanakit.common.user_cache import user_cache_folder
from sanakit.data.fates import fates
from sanakit.data.sources.data_source import DataSource
from sanakit.features.encoders import Encoders
from sanakit.features.pixel_tensors import EXACT_TEXT, encode_texts
from sanakit.features.store import FeatureStore, feature_key
from sanakit.features.work import Work

logger = logging.getLogger(__name__)

_TEXTS_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What filling the cache took: entries found, entries computed by this process."""

    reused: int
    computed: int


def cache_folder(named: str | Path | None) -> Path:
    """The folder of all stores: the one that was named, else ``features`` in the user's cache."""
    return as_path(named) if named is not None else user_cache_folder() / "features"


def latent_store(named: str | Path | None, encoders: Encoders) -> FeatureStore:
    """The store of one autoencoder's latents in `cache_folder`; one folder each, so that it can be deleted alone."""
    return FeatureStore(cache_folder(named) / f"latents-{encoders.latent_id[:16]}")


def text_store(named: str | Path | None, encoders: Encoders) -> FeatureStore:
    """The store of one text encoder's features in `cache_folder`."""
    return FeatureStore(cache_folder(named) / f"texts-{encoders.text_id[:16]}")


def latent_key(picture: str, height: int, width: int, rule: str, encoding: str, encoders: Encoders) -> str:
    """The key of a latent.

    Args:
        picture: SHA-256 of the file, or what else decides the picture.
        height, width: of the bin in pixels.
        rule: how the picture is brought to that size.
        encoding: ``EXACT`` or ``QUICK``, see ``encode_pictures``.
    """
    return feature_key("latent", picture, f"{height}x{width}", rule, encoding, encoders.latent_id)


def cache_texts(
    texts: Iterable[str], store: FeatureStore, work: Work, *, exact: bool = False
) -> tuple[dict[str, str], Spent]:
    """Compute the features of the texts that the store lacks, each rank a share; ``exact`` is of ``encode_texts``.

    Returns:
        The key of every text, and what it took.
    """
    how = (EXACT_TEXT,) if exact else ()
    keys = {text: feature_key("text", feature_key(text), work.encoders.text_id, *how) for text in dict.fromkeys(texts)}
    texts_of = {key: text for text, key in keys.items()}

    def compute(missing: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        # texts of about one length go together, which the encoder can run as one
        ordered = sorted(missing, key=lambda key: len(texts_of[key]))
        for start in range(0, len(ordered), _TEXTS_AT_ONCE):
            part = ordered[start : start + _TEXTS_AT_ONCE]
            found = encode_texts(work.encoders.text, [texts_of[key] for key in part], work.device, exact=exact)
            yield from zip(part, found, strict=True)

    spent = fill_store(store, list(texts_of), compute, work, what="captions")
    return keys, spent


def fill_store(
    store: FeatureStore,
    keys: Sequence[str],
    compute: Callable[[Sequence[str]], Iterator[tuple[str, Tensor]]],
    work: Work,
    *,
    what: str,
) -> Spent:
    """Compute what is missing and wait until every rank has done its share.

    Args:
        compute: yields key and tensor for the keys given; those that it leaves out stay missing.

    Raises:
        OutputError: the store cannot be written.
    """
    own = keys[work.ranks.rank :: work.ranks.world]
    missing, start = store.missing(own), time.monotonic()
    if missing:
        logger.info("%s: %d of %d are cached, computing %d", what, len(own) - len(missing), len(own), len(missing))
        with store.writer() as writer:
            for done, (key, tensor) in enumerate(compute(missing), start=1):
                writer.put(key, tensor)
                work.on_progress(done, len(missing), what)
        logger.info("%s: computed in %.1f s, kept in %s", what, time.monotonic() - start, store.folder)
    wait_for_all(work.ranks)
    store.refresh()
    return Spent(reused=len(own) - len(missing), computed=sum(key in store for key in missing))


def tell_fates(source: DataSource) -> None:
    """Log what in the data set is left out, used with a fault, or has no part in it."""
    for sentence in fates(source):
        logger.warning("%s: %s", source.path, sentence)


def kept_samples(source: DataSource, leave_out: Sequence[str]) -> list[int]:
    """All samples but those whose keys are named, which is logged.

    Raises:
        RequestError: a name is no key of a sample.
    """
    places = {source[index].key: index for index in range(len(source))}
    for key in leave_out:
        if key not in places:
            near = "".join(f"; did you mean {name}?" for name in get_close_matches(key, places, 1))
            raise RequestError(f"data.leave_out names {key!r}, and no sample of {source.path} has that key{near}")
    if leave_out:
        logger.info("%s: %d samples are left out by name", source.path, len(set(leave_out)))
    return sorted(places[key] for key in places.keys() - set(leave_out))


def tell_dropped(what: str, problems: Mapping[str, str], source: DataSource) -> None:
    """Log how many samples are left out, and the first few keys with their reasons; nothing if there are none."""
    if problems:
        shown = ", ".join(f"{key} ({reason})" for key, reason in list(problems.items())[:5])
        shown += f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        logger.warning("%d samples of %s %s and are left out: %s", len(problems), source.path, what, shown)
