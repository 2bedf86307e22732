"""The content hashes of a model's files: computed when asked for, kept in the user's cache, checked with the card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import read_listed, read_tensors
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, ModelCard
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.starter_text_encoder import starter_text_encoder_fault, starter_text_encoder_place
from sanakit.checkpoints.networks.strict_load import check_whole
from sanakit.checkpoints.networks.text_encoder_folder import text_encoder_files
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.common.errors import CheckpointError
from sanakit.common.user_cache import file_stamp, recall, remember, user_cache_folder

MAX_BYTES = 100_000_000  # of all networks, to be compared as they are loaded; the starter's 22 MB take 0.1 s
_NUM_SAMPLES, _SAMPLE_BYTES = 64, 4096  # of a large file


def hash_parts(parts: ModelParts) -> dict[str, str]:
    """Hashes of the components that a source holds, from every byte of them: what is written says these."""
    return {name: _hash_component(parts, name, files) for name, files in _weight_files(parts).items()}


def hash_text_encoder(parts: ModelParts) -> str:
    """The hash of a source's text encoder as it is stored, from every byte of it."""
    assert parts.text_encoder is not None
    return hash_tensors(read_tensors(text_encoder_files(parts.text_encoder, parts.variant)))


def recall_hashes(parts: ModelParts, known: Mapping[str, str]) -> dict[str, str]:
    """Hashes of the components that a source holds, for a model that is used: those that are known, and of large files
    that have not changed those of before, are not computed again."""
    unknown = {name: files for name, files in _weight_files(parts).items() if not known.get(name)}
    return dict(known) | {name: _recalled_hash(parts, name, files) for name, files in unknown.items()}


def bytes_to_hash(parts: ModelParts, known: Mapping[str, str]) -> int:
    """Bytes that ``recall_hashes`` has to read: of components whose hash neither the card nor the user's cache has."""
    unknown = {name: files for name, files in _weight_files(parts).items() if not known.get(name)}
    to_read = [files for name, files in unknown.items() if _kept_hash(_stamp(name, files)) is None]
    return sum(file.stat().st_size for files in to_read for file in files)


def hash_network(found: Found[Any, Any]) -> str:
    """The content hash of one network, the same in every layout."""
    if found.plan.missing:
        check_whole(found)  # refuses it in a sentence
    return hash_tensors(read_listed(found.header), found.plan.origins)


def check_small_weights(parts: ModelParts) -> None:
    """Refuse a small network that is not the one whose hash is in the card, as a model is loaded.

    Of large ones the card is believed, and ``verify_hashes`` reads every byte when asked to.

    Raises:
        CheckpointError: the weights were changed or damaged after the card was written.
    """
    num_bytes = sum(file.stat().st_size for found in parts.networks.values() for file in found.header.files)
    if parts.card is None or num_bytes > MAX_BYTES:
        return
    for name, found in parts.networks.items():
        expected = parts.card.hashes.get(name)
        if expected and (value := hash_network(found)) != expected:
            raise CheckpointError(
                f"the {name} in {found.header.place} has content hash {value[:12]} and its card says {expected[:12]}: "
                f"it was changed or damaged after the card was written; load it with force to use it all the same"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class HashCheck:
    """One component: its hash as computed now, "" where the source lacks it, and as its card says, "" where not.

    ``fault`` is what is wrong with files that are checked as such, those of the starter's language model in the cache.
    """

    name: str
    found: str
    expected: str
    fault: str = ""

    @property
    def differs(self) -> bool:
        """Changed or damaged after the card was written."""
        return bool(self.fault) or (bool(self.found and self.expected) and self.found != self.expected)


def verify_hashes(source: str | Path, *, hub: HubOptions | None = None) -> Iterator[HashCheck]:
    """Read every byte of a model's components, one after the other, and compare with its card: of its own, and of the
    starter's language model where it borrows that and it is in the cache.

    Raises:
        CheckpointError: there is no card with hashes.
    """
    parts = find_parts(source, hub=hub)
    if parts.card is None or not parts.card.hashes.get("transformer"):
        raise CheckpointError(f"{parts.path} has no sanakit.json with hashes to compare with")
    present = _weight_files(parts)
    for name in dict.fromkeys((*COMPONENTS, *present)):
        expected = parts.card.hashes.get(name, "")
        if name in present:
            yield HashCheck(name=name, found=_hash_component(parts, name, present[name]), expected=expected)
        elif name == "text_encoder" and parts.card.text_encoder == SMALL_TEXT_ENCODER:
            yield _check_cached_text_encoder(parts.card, expected)
        else:
            yield HashCheck(name=name, found="", expected=expected)


def _check_cached_text_encoder(card: ModelCard, expected: str) -> HashCheck:
    """Its files as they were written, every byte of them; their hash is that of the card unless they came from the hub
    or a folder of the user's."""
    place = starter_text_encoder_place(card.text.num_layers)
    if not place.exists():
        return HashCheck(name="text_encoder", found="", expected=expected)
    if fault := starter_text_encoder_fault(card.text.num_layers, every_byte=True):
        return HashCheck(name="text_encoder", found="", expected=expected, fault=fault)
    found = hash_tensors(read_tensors(text_encoder_files(place / "text_encoder")))
    return HashCheck(name="text_encoder", found=found, expected=expected)


def _weight_files(parts: ModelParts) -> dict[str, tuple[Path, ...]]:
    files = {name: found.header.files for name, found in parts.networks.items()}
    if parts.text_encoder is not None:
        files["text_encoder"] = text_encoder_files(parts.text_encoder, parts.variant)
    return files


def _hash_component(parts: ModelParts, name: str, files: Sequence[Path]) -> str:
    return hash_network(parts.networks[name]) if name in parts.networks else hash_tensors(read_tensors(files))


def _recalled_hash(parts: ModelParts, name: str, files: Sequence[Path]) -> str:
    """The hash of a component, remembered in the user's cache as long as its files are the same."""
    stamp = _stamp(name, files)
    if (kept := _kept_hash(stamp)) is not None:
        return kept
    value = _hash_component(parts, name, files)
    if stamp is not None and stamp == _stamp(name, files):  # not changed while it was read
        remember(_place_of(stamp), {"stamp": stamp, "sha256": value})
    return value


def _kept_hash(stamp: list[str] | None) -> str | None:
    """The hash in the user's cache; None where there is none."""
    known = recall(_place_of(stamp)) if stamp is not None else None
    return str(known["sha256"]) if isinstance(known, dict) and known.get("stamp") == stamp else None


def _stamp(name: str, files: Sequence[Path]) -> list[str] | None:
    """What stays the same as long as large files of a component do; None for small ones, which are hashed each time.

    Some bytes of each belong to it: in a read-only image all files have their number, length and date from a recipe.
    """
    stamps = [file_stamp(file) for file in files]
    if None in stamps or sum(file.stat().st_size for file in files) <= MAX_BYTES:
        return None
    return [name, *(f"{stamp}|{_sample(file)}" for stamp, file in zip(stamps, files, strict=True))]


def _sample(path: Path) -> str:
    digest, step = hashlib.sha256(), max(_SAMPLE_BYTES, path.stat().st_size // _NUM_SAMPLES)
    with path.open("rb") as file:
        for start in range(0, path.stat().st_size, step):
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:32]


def _place_of(stamp: list[str]) -> Path:
    return user_cache_folder() / "content-hashes" / f"{hashlib.sha256(repr(stamp).encode()).hexdigest()[:32]}.json"
