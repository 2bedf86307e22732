"""What tells the data of one sitting of a run from another's, wherever it lies: fingerprints of its parts by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from sanakit.common.errors import PictureError
from sanakit.data.sources.blobs import Blob
from sanakit.data.sources.data_source import DataSource
from sanakit.features import configs
from sanakit.features.encoders import Encoders

Identity = dict[str, str]
OnIdentity = Callable[[Identity], None]
"""Told what data is, before anything is computed from it; raises to refuse it."""

_GLANCE = 4096  # bytes


def any_identity(identity: Identity) -> None:
    """Accept any data."""


def identity_of_files(source: DataSource, samples: Sequence[int], contents: Iterable[str] | None = None) -> Identity:
    """Of samples in their order.

    Args:
        contents: SHA-256 of each sample's file; None goes by lengths, sizes, beginnings and ends, where nobody has read
            the files: latents, and pictures that are not compressed, are all of one length.

    Raises:
        PictureError: a file cannot be read.
    """
    found = [source[index] for index in samples]
    if contents is None:
        sizes = zip(samples, found, strict=True)
        contents = (f"{_glance(source.blob(index))} {sample.height}x{sample.width}" for index, sample in sizes)
    captions = (repr([(each.source, each.text, each.score) for each in sample.captions]) for sample in found)
    names = (sample.key for sample in found)
    return {"names of samples": digest_of(names), "pictures": digest_of(contents), "captions": digest_of(captions)}


def _glance(blob: Blob) -> str:
    """The length of a file, and what its first and last bytes are."""
    try:
        with blob.open() as file:
            start = file.read(_GLANCE)
            file.seek(max(0, blob.num_bytes - _GLANCE))
            return f"{blob.num_bytes} {hashlib.sha256(start + file.read(_GLANCE)).hexdigest()}"
    except OSError as error:
        raise PictureError(f"{blob.name} cannot be read: {error.strerror or error}") from error


def named_data(config: configs.LatentDataConfig | configs.PixelDataConfig, whose: str) -> str:
    """Whose data it is, with what is left out of it: naming a sample in ``leave_out`` makes other data of it."""
    match config:
        case configs.FilesData() | configs.FilePictures() if config.leave_out:
            return f"{whose} without {', '.join(sorted(config.leave_out))}"
    return whose


def identity_of_encoders(encoders: Encoders) -> Identity:
    """Of the networks that features are made with."""
    return {"autoencoder": encoders.latent_id[:16], "text encoder": encoders.text_id[:16]}


def digest_of(facts: Iterable[str]) -> str:
    """16 hex digits."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"{fact}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
