"""The content hashes of a model's files: computed when asked for, kept in the user's cache, checked with the card."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sanakit.checkpoints.files.reader import read_header, read_tensors
from sanakit.checkpoints.identity.hashing import ContentHashes, hash_tensors
from sanakit.checkpoints.networks.dc_ae_keys import find_dc_ae_layout
from sanakit.checkpoints.networks.key_maps import KeyMap
from sanakit.checkpoints.networks.linear_dit_keys import find_linear_dit_layout
from sanakit.checkpoints.networks.text_encoder_folder import text_encoder_files
from sanakit.checkpoints.sources.sources import HubOptions, ModelParts, find_parts
from sanakit.common.errors import CheckpointError, OutputError
from sanakit.common.files import write_json
from sanakit.common.user_cache import user_cache_folder

logger = logging.getLogger(__name__)


def hash_parts(parts: ModelParts, known: ContentHashes | None = None) -> ContentHashes:
    """Hashes of the components that a source holds; those that are known are not computed again."""
    hashes = known or ContentHashes()
    files = weight_files(parts)
    return replace(hashes, **{name: cached_hash(files[name]) for name in files if not getattr(hashes, name)})


def bytes_to_hash(parts: ModelParts, known: ContentHashes) -> int:
    """Bytes that ``hash_parts`` has to read: of components whose hash neither the card nor the user's cache has."""
    unknown = [files for name, files in weight_files(parts).items() if not getattr(known, name)]
    return sum(file.stat().st_size for files in unknown if kept_hash(files) is None for file in files)


@dataclass(frozen=True, kw_only=True, slots=True)
class HashCheck:
    """One component: its hash as computed now, "" where the source lacks it, and as its card says, "" where not."""

    name: str
    found: str
    expected: str

    @property
    def differs(self) -> bool:
        """Changed or damaged after the card was written."""
        return bool(self.found and self.expected) and self.found != self.expected


def verify_hashes(source: str | Path, *, hub: HubOptions | None = None) -> Iterator[HashCheck]:
    """Read every byte of a model's own components, one after the other, and compare with its card.

    Raises:
        CheckpointError: there is no card with hashes.
    """
    parts = find_parts(source, hub=hub)
    if parts.card is None or not parts.card.hashes.transformer:
        raise CheckpointError(f"{parts.path} has no sanakit.json with hashes to compare with")
    files = weight_files(parts)
    for name in ("transformer", "autoencoder", "text_encoder"):
        found = hash_files(files[name]) if name in files else ""
        yield HashCheck(name=name, found=found, expected=getattr(parts.card.hashes, name))


def weight_files(parts: ModelParts) -> dict[str, tuple[Path, ...]]:
    files: dict[str, tuple[Path, ...]] = {}
    if parts.transformer:
        files["transformer"] = parts.transformer.files
    if parts.autoencoder:
        files["autoencoder"] = parts.autoencoder.files
    if parts.text_encoder:
        files["text_encoder"] = text_encoder_files(parts.text_encoder, parts.variant)
    return files


def hash_files(files: Sequence[Path]) -> str:
    """The content hash of one component."""
    return hash_tensors(read_tensors(files), layout_of(files))


def layout_of(files: Sequence[Path]) -> KeyMap | None:
    names = read_header(files).tensors
    return find_linear_dit_layout(names) or find_dc_ae_layout(names)


def cached_hash(files: Sequence[Path]) -> str:
    """As ``hash_files``, remembered in the user's cache by path, size and time of change of the files."""
    if (kept := kept_hash(files)) is not None:
        return kept
    value = hash_files(files)
    try:
        facts = {"sha256": value, "files": [str(file) for file in files]}
        write_json(sidecar_of(files), facts, indent=None, ensure_ascii=True)
    except OutputError as error:
        logger.info("the content hash is not kept: %s", error)
    return value


def kept_hash(files: Sequence[Path]) -> str | None:
    """The hash in the user's cache; None where there is none."""
    try:
        return str(json.loads(sidecar_of(files).read_text())["sha256"])
    except (OSError, ValueError, KeyError):
        return None


def sidecar_of(files: Sequence[Path]) -> Path:
    return user_cache_folder() / "content-hashes" / f"{identity_of(files)}.json"


def identity_of(files: Sequence[Path]) -> str:
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:32]
