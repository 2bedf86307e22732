"""The content hashes of a model's files, of every byte whenever asked for, and their check by the card or the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.hub_check import Snapshot, digest_of
from sanakit.checkpoints.files.reader import read_header, read_listed
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, ModelCard
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.strict_load import check_whole
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.checkpoints.text.starter_text_encoder import starter_text_encoder_fault, starter_text_encoder_place
from sanakit.checkpoints.text.text_encoder_folder import text_encoder_files
from sanakit.common.errors import CheckpointError

MAX_BYTES = 100_000_000  # of all networks, to be compared as they are loaded; the starter's 22 MB take 0.1 s


def hash_parts(parts: ModelParts) -> dict[str, str]:
    """Hashes of the components that a source holds, from every byte of them: what is written says these."""
    return {name: _hash_component(parts, name, files) for name, files in _weight_files(parts).items()}


def hash_text_encoder(parts: ModelParts) -> str:
    """The hash of a source's text encoder as it is stored, from every byte of it."""
    assert parts.text_encoder is not None
    return hash_tensors(read_listed(read_header(text_encoder_files(parts.text_encoder, parts.variant))))


def unknown_hashes(parts: ModelParts, known: Mapping[str, str]) -> dict[str, str]:
    """As ``hash_parts``, of what every model has and whose hash is not known."""
    return {name: _hash_component(parts, name, files) for name, files in _unknown_files(parts, known).items()}


def bytes_to_hash(parts: ModelParts, known: Mapping[str, str]) -> int:
    """Bytes that ``unknown_hashes`` reads."""
    return sum(file.stat().st_size for files in _unknown_files(parts, known).values() for file in files)


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

    Of a model in the hub's cache that has no card it is one file: its digest, and the hub's (``against``). ``fault`` is
    what else is wrong, and what helps.
    """

    name: str
    found: str
    expected: str
    fault: str = ""
    against: Literal["card", "hub"] = "card"

    @property
    def differs(self) -> bool:
        """Changed or damaged after the card was written, or on the way from the hub."""
        return bool(self.fault) or (bool(self.found and self.expected) and self.found != self.expected)


def verify_hashes(source: str | Path, *, hub: HubOptions | None = None) -> Iterator[HashCheck]:
    """Read every byte of a model's components, one after the other, and compare with its card: of its own, and of the
    starter's language model where it borrows that and it is in the cache. The files of a model in the hub's cache that
    has no card, or not of this variant, are compared with what the hub says of them.

    Raises:
        CheckpointError: there is no card with hashes, and it does not come from the hub.
    """
    parts = find_parts(source, hub=hub)
    if parts.card is not None and parts.card.hashes.get("transformer") and parts.variant is None:
        yield from _checks_with_card(parts, parts.card)
    elif (snapshot := Snapshot.around(parts.path)) is not None:
        yield from _checks_with_hub(parts.path, snapshot)
    else:
        raise CheckpointError(f"{parts.path} has no sanakit.json with hashes to compare with")


def _checks_with_card(parts: ModelParts, card: ModelCard) -> Iterator[HashCheck]:
    present = _weight_files(parts)
    for name in dict.fromkeys((*COMPONENTS, *present)):
        expected = card.hashes.get(name, "")
        if name in present:
            yield HashCheck(name=name, found=_hash_component(parts, name, present[name]), expected=expected)
        elif name == "text_encoder" and card.text_encoder == SMALL_TEXT_ENCODER:
            yield _check_cached_text_encoder(card, expected)
        else:
            yield HashCheck(name=name, found="", expected=expected)


def _checks_with_hub(path: Path, snapshot: Snapshot) -> Iterator[HashCheck]:
    listing = snapshot.listing()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            name = file.relative_to(snapshot.folder).as_posix()
            expected = snapshot.listed(name, listing).digest
            fault = f"no file of {snapshot.repo}; remove it" if listing and name not in listing else ""
            found = digest_of(file, expected, every_byte=True)
            yield HashCheck(name=name, found=found, expected=expected, fault=fault, against="hub")


def _check_cached_text_encoder(card: ModelCard, expected: str) -> HashCheck:
    """Its files as they were written, every byte of them; their hash is that of the card unless they came from the hub
    or a folder of the user's."""
    place = starter_text_encoder_place(card.text.num_layers)
    if not place.exists():
        return HashCheck(name="text_encoder", found="", expected=expected)
    if reason := starter_text_encoder_fault(card.text.num_layers, every_byte=True):
        fault = f"damaged in the cache ({reason}); the next picture fetches it again"
        return HashCheck(name="text_encoder", found="", expected=expected, fault=fault)
    found = hash_tensors(read_listed(read_header(text_encoder_files(place / "text_encoder"))))
    return HashCheck(name="text_encoder", found=found, expected=expected)


def _weight_files(parts: ModelParts) -> dict[str, tuple[Path, ...]]:
    files = {name: found.header.files for name, found in parts.networks.items()}
    if parts.text_encoder is not None:
        files["text_encoder"] = text_encoder_files(parts.text_encoder, parts.variant)
    return files


def _unknown_files(parts: ModelParts, known: Mapping[str, str]) -> dict[str, tuple[Path, ...]]:
    files = _weight_files(parts)
    return {name: files[name] for name in COMPONENTS if name in files and not known.get(name)}


def _hash_component(parts: ModelParts, name: str, files: Sequence[Path]) -> str:
    if name in parts.networks:
        return hash_network(parts.networks[name])
    return hash_tensors(read_listed(read_header(files)))
