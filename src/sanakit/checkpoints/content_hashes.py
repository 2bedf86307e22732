"""The content hashes of a model's files: computed when asked for, kept in the user's cache, checked with the card."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sanakit.checkpoints.dc_ae_keys import find_dc_ae_layout
from sanakit.checkpoints.hashing import ContentHashes, hash_tensors
from sanakit.checkpoints.key_maps import KeyMap
from sanakit.checkpoints.linear_dit_keys import find_linear_dit_layout
from sanakit.checkpoints.reader import read_header, read_tensors
from sanakit.checkpoints.sources import ModelParts, find_parts
from sanakit.checkpoints.text_encoder_folder import text_encoder_files
from sanakit.checkpoints.writer import written_aside
from sanakit.common.errors import CheckpointError, OutputError
from sanakit.common.user_cache import user_cache_folder

logger = logging.getLogger(__name__)


def hash_parts(parts: ModelParts, known: ContentHashes | None = None) -> ContentHashes:
    """Hashes of the components that a source holds; those that are known are not computed again."""
    hashes = known or ContentHashes()
    files = weight_files(parts)
    return replace(hashes, **{name: cached_hash(files[name]) for name in files if not getattr(hashes, name)})


def verify_hashes(source: str | Path) -> ContentHashes:
    """Read every byte of a model's own components and compare with its card.

    Raises:
        CheckpointError: there is no card with hashes, or a component is not the one that the card was written for.
    """
    parts = find_parts(source)
    if parts.card is None or not parts.card.hashes.transformer:
        raise CheckpointError(f"{parts.path} has no sanakit.json with hashes to compare with")
    found = {name: hash_files(files) for name, files in weight_files(parts).items()}
    for name, value in found.items():
        expected = getattr(parts.card.hashes, name)
        if expected and value != expected:
            raise CheckpointError(
                f"the {name} of {parts.path} has content hash {value[:12]} and its card says {expected[:12]}: "
                f"it was changed or damaged after the card was written"
            )
    return ContentHashes(**found)


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
    sidecar = user_cache_folder() / "content-hashes" / f"{identity_of(files)}.json"
    try:
        return str(json.loads(sidecar.read_text())["sha256"])
    except (OSError, ValueError, KeyError):
        value = hash_files(files)
    try:
        with written_aside(sidecar, force=True) as path:
            path.write_text(json.dumps({"sha256": value, "files": [str(file) for file in files]}) + "\n")
    except OutputError as error:
        logger.info("the content hash is not kept: %s", error)
    return value


def identity_of(files: Sequence[Path]) -> str:
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:32]
