"""From any layout that can be read to one that others read: a diffusers folder, a ``.pth``, one safetensors."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, assert_never

from torch import Tensor

from sanakit.checkpoints.bundle import card_of, find_autoencoder, text_encoder_source, text_folders
from sanakit.checkpoints.editing.diffusers_layout import write_dc_ae, write_frame, write_linear_dit
from sanakit.checkpoints.files.reader import read_header, read_tensors
from sanakit.checkpoints.files.writer import write_safetensors, write_torch
from sanakit.checkpoints.identity.card import ModelCard, card_to_metadata
from sanakit.checkpoints.identity.hashing import ContentHashes
from sanakit.checkpoints.networks.dc_ae_keys import DIFFUSERS_DC_AE, OriginalSpelling, original_dc_ae
from sanakit.checkpoints.networks.diffusers_config import Json, dc_ae_to_json, linear_dit_to_json
from sanakit.checkpoints.networks.key_maps import KeyMap
from sanakit.checkpoints.networks.linear_dit_keys import UPSTREAM_LINEAR_DIT, diffusers_linear_dit
from sanakit.checkpoints.networks.strict_load import (
    WeightSource,
    check_names,
    check_shapes,
    expected_shapes,
    identify_dc_ae,
    identify_linear_dit,
)
from sanakit.checkpoints.sources.content_hashes import hash_parts
from sanakit.checkpoints.sources.sources import CONFIG_KEY, HubOptions, ModelParts, find_parts
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.common.files import written_aside

TargetLayout = Literal["diffusers", "upstream", "safetensors"]
SUFFIXES = {"upstream": (".pth", ".pt"), "safetensors": (".safetensors",)}
TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "chat_template*"
)  # fmt: skip
TEXT_ENCODER_FILES = ("config.json", "generation_config.json", "model*.safetensors", "model*.safetensors*.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What was written, and what a user should know about it."""

    target: Path
    layout: TargetLayout
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One network's tensors under our names, read whole and checked."""

    config: Any
    tensors: dict[str, Tensor]
    layout: KeyMap  # that of its source
    dropped: dict[str, Tensor]  # what the source's layout holds beyond the network, under its own names


def convert(
    source: str | Path,
    target: str | Path,
    layout: TargetLayout,
    *,
    variant: str | None = None,
    autoencoder: str | Path | None = None,
    text_encoder: str | Path | None = None,
    hub: HubOptions | None = None,
    force: bool = False,
) -> Conversion:
    """Rewrite a model in another layout; values and dtypes stay as they are.

    Args:
        source: a folder, a file, a hub id or ``starter``.
        target: a folder for ``diffusers``, a ``.pth`` for ``upstream``, a ``.safetensors`` for ``safetensors``.
        layout: ``upstream`` and ``safetensors`` hold the transformer alone (or the autoencoder, if that is the source).
        variant: "fp16" or "bf16" files of a diffusers folder.
        autoencoder, text_encoder: sources of parts that the source lacks, for a complete folder.
        hub: for hub ids.
        force: replace what is at the target.

    Raises:
        CheckpointError: the source cannot be read or is incomplete.
        RequestError: the target exists, or its name does not fit the layout.
        OutputError: the target cannot be written; nothing is left there.
    """
    target = Path(target)
    check_target(target, layout, force)
    borrowing = replace(hub or HubOptions(), revision=None)  # a revision is the model's, not that of what it borrows
    parts = add_parts(find_parts(source, variant=variant, hub=hub), borrowing, autoencoder, text_encoder)
    with written_aside(target, force=force) as path:
        match layout:
            case "diffusers":
                notes = write_folder(parts, path)
            case "upstream":
                notes = write_upstream(parts, path)
            case "safetensors":
                notes = write_single(parts, path)
            case _:
                assert_never(layout)
    return Conversion(target=target, layout=layout, notes=tuple(notes))


def check_target(target: Path, layout: TargetLayout, force: bool) -> None:
    """Refuse before anything is read or fetched."""
    if layout not in ("diffusers", *SUFFIXES):
        raise RequestError(f"layout {layout!r} is not offered; choose diffusers, upstream or safetensors")
    if layout in SUFFIXES and target.suffix not in SUFFIXES[layout]:
        raise RequestError(f"{target} is no name for the {layout} layout, which is a {SUFFIXES[layout][0]} file")
    if layout == "diffusers" and target.suffix in (".pth", ".pt", ".safetensors"):
        raise RequestError(f"{target} looks like a file, and the diffusers layout is a folder")
    if target.exists() and not force:
        raise RequestError(f"{target} exists already; choose another name, or force it to be replaced")


def add_parts(
    parts: ModelParts, hub: HubOptions, autoencoder: str | Path | None, text_encoder: str | Path | None
) -> ModelParts:
    """Parts that were named, and the starter's own text encoder; others stay missing rather than being downloaded."""
    if autoencoder is not None:
        parts = replace(parts, autoencoder=find_autoencoder(autoencoder, hub))
    is_starter = parts.card is not None and parts.card.family == "starter"
    if text_encoder is not None or (is_starter and parts.text_encoder is None):
        model, tokenizer = text_folders(text_encoder_source(parts, text_encoder, hub))
        parts = replace(parts, text_encoder=model, tokenizer=tokenizer)
    return parts


def write_folder(parts: ModelParts, folder: Path) -> list[str]:
    """A whole diffusers folder, or one component's folder for an autoencoder alone."""
    vae = read_network(parts.autoencoder, identify_dc_ae) if parts.autoencoder else None
    if parts.transformer is None:
        assert vae is not None
        write_dc_ae(folder, vae.config, vae.tensors, metadata={})
        return []
    transformer = read_network(parts.transformer, identify_linear_dit)
    card = replace(card_of(parts), hashes=hash_parts(parts))
    metadata = card_to_metadata(card)
    write_linear_dit(folder / "transformer", transformer.config, transformer.tensors, metadata=metadata)
    if vae is not None:
        write_dc_ae(folder / "vae", vae.config, vae.tensors, metadata={})
    if parts.text_encoder is not None:
        copy_files(parts.text_encoder, folder / "text_encoder", TEXT_ENCODER_FILES)
        copy_files(parts.tokenizer or parts.text_encoder, folder / "tokenizer", TOKENIZER_FILES)
    write_frame(folder, card)
    return [*left_out(transformer), *absent(parts)]


def write_upstream(parts: ModelParts, path: Path) -> list[str]:
    """Upstream's names in a ``.pth``; of an autoencoder, the original names."""
    if parts.transformer is None:
        assert parts.autoencoder is not None
        vae = read_network(parts.autoencoder, identify_dc_ae)
        write_torch(path, original_dc_ae(OriginalSpelling.of(vae.config)).from_ours(vae.tensors))
        return []
    network = read_network(parts.transformer, identify_linear_dit)
    tensors = UPSTREAM_LINEAR_DIT.from_ours(network.tensors)
    notes = alone(parts)
    if network.layout is UPSTREAM_LINEAR_DIT:
        tensors |= network.dropped
    else:
        notes.append("y_embedder.y_embedding is not written: upstream fills it from its text encoder as it starts")
    if parts.card is not None:
        notes.append("the model card and config are not written: a .pth has no place for them, a safetensors file has")
    write_torch(path, tensors)
    return notes


def write_single(parts: ModelParts, path: Path) -> list[str]:
    """diffusers' names in one safetensors file, with the card in its metadata."""
    if parts.transformer is None:
        assert parts.autoencoder is not None
        vae = read_network(parts.autoencoder, identify_dc_ae)
        write_safetensors(path, DIFFUSERS_DC_AE.from_ours(vae.tensors), config_metadata(dc_ae_to_json(vae.config)))
        return []
    network = read_network(parts.transformer, identify_linear_dit)
    hashes = hash_parts(replace(parts, autoencoder=None, text_encoder=None))
    card: ModelCard = replace(card_of(parts), hashes=ContentHashes(transformer=hashes.transformer))
    layout = diffusers_linear_dit(guidance_embeds=network.config.guidance_embeds)
    metadata = card_to_metadata(card) | config_metadata(linear_dit_to_json(network.config))
    write_safetensors(path, layout.from_ours(network.tensors), metadata)
    return [*left_out(network), *alone(parts)]


def read_network(weights: WeightSource, identify: Any) -> Network:
    config, layout = identify(weights, read_header(weights.files))
    tensors = read_tensors(weights.files)
    expected = expected_shapes(config)
    plan = check_names(layout, tensors, expected, weights.place)
    ours = layout.to_ours(tensors)
    check_shapes(ours, expected, weights.place)
    dropped = {name: tensors[name] for name in plan.dropped}
    return Network(config=config, tensors=ours, layout=layout, dropped=dropped)


def config_metadata(config: Json) -> dict[str, str]:
    """The config travels inside a single file: shapes alone do not tell every one."""
    return {CONFIG_KEY: json.dumps(config)}


def left_out(network: Network) -> list[str]:
    reasons = network.layout.plan(network.dropped).dropped
    return [f"{name} is left out: {reason}" for name, reason in reasons.items()]


def absent(parts: ModelParts) -> list[str]:
    missing = [name for name in ("autoencoder", "text_encoder") if getattr(parts, name) is None]
    return [f"the folder has no {name.replace('_', ' ')}: the source has none and none was named" for name in missing]


def alone(parts: ModelParts) -> list[str]:
    others = [name for name in ("autoencoder", "text_encoder") if getattr(parts, name) is not None]
    return ["only the transformer is written; a file in this layout holds nothing else"] if others else []


def copy_files(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    """Copy the files of one component; links, as in the hub's cache, become files."""
    found = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    if not found:
        raise CheckpointError(f"{source} holds none of {', '.join(patterns)}")
    target.mkdir()
    for path in found:
        shutil.copyfile(path, target / path.name)
