"""From any layout that can be read to one that others read: a diffusers folder, a ``.pth``, one safetensors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, assert_never

from sanakit.checkpoints.diffusers_layout import WriteText, write_model_folder, write_network
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import read_listed, read_tensors
from sanakit.checkpoints.files.weight_names import WEIGHT_SUFFIXES
from sanakit.checkpoints.files.writer import write_safetensors, write_torch
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, card_to_metadata
from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.key_maps import Drop
from sanakit.checkpoints.networks.linear_dit import OF_CONTROLNET
from sanakit.checkpoints.networks.nunchaku import to_nunchaku
from sanakit.checkpoints.networks.strict_load import read_network
from sanakit.checkpoints.sources.complete import card_of, with_named_autoencoder, with_text_encoder, words_of_parts
from sanakit.checkpoints.sources.content_hashes import hash_parts
from sanakit.checkpoints.sources.sources import CONFIG_KEY, ModelParts, find_parts
from sanakit.checkpoints.text.decoder_folder import write_decoder
from sanakit.checkpoints.text.text_encoder_check import check_text_encoder
from sanakit.checkpoints.text.text_encoder_folder import text_encoder_files
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.common.files import check_free, written_aside
from sanakit.common.paths import as_path
from sanakit.models.text.decoder import Decoder

TargetLayout = Literal["diffusers", "upstream", "safetensors", "nunchaku"]
_SUFFIXES: dict[TargetLayout, tuple[str, ...]] = {  # of several the first is meant, where a name alone says it
    "upstream": (".pth", ".pt"), "safetensors": (".safetensors",), "nunchaku": (".safetensors",)
}  # fmt: skip
_OTHER_FILES = (*WEIGHT_SUFFIXES, ".gguf", ".onnx", ".pkl", ".zip")  # what no folder is called
_TOKENIZER_FILES = ("tokenizer*", "special_tokens*", "added_tokens*", "vocab*", "merges*", "chat_template*")
_TEXT_ENCODER_FILES = ("config.json", "generation_config.json", "model*.safetensors", "model*.safetensors*.json")


def convert(
    source: str | Path,
    target: str | Path,
    layout: TargetLayout,
    *,
    autoencoder: str | Path | None = None,
    text_encoder: str | Path | None = None,
    hub: HubOptions | None = None,
    force: bool = False,
) -> list[str]:
    """Rewrite a model in another layout; values and dtypes stay as they are.

    Args:
        source: a folder, a file, a hub id or ``starter``.
        target: a folder for ``diffusers``, a ``.pth`` for ``upstream``, a ``.safetensors`` for ``safetensors``.
        layout: ``upstream`` and ``safetensors`` hold the transformer alone (or the autoencoder, if that is the source);
            ``nunchaku`` one that is in svdquant.
        autoencoder, text_encoder: sources of parts that the source lacks, for a complete folder.
        hub: which files, and for hub ids how they are fetched.
        force: replace what is at the target.

    Returns:
        notes: what a user should know about what was written.

    Raises:
        CheckpointError: the source cannot be read or is incomplete.
        RequestError: the target exists, or its name does not fit the layout.
        OutputError: the target cannot be written; nothing is left there.
    """
    target = as_path(target)
    check_target(target, layout, force=force)
    borrowing = (hub or HubOptions()).for_others
    parts = _add_parts(find_parts(source, hub=hub), borrowing, autoencoder, text_encoder)
    with written_aside(target, force=force) as path:
        match layout:
            case "diffusers":
                return _write_folder(parts, path)
            case "upstream":
                return _write_upstream(parts, path)
            case "safetensors":
                return _write_single(parts, path)
            case "nunchaku":
                return _write_nunchaku(parts, path)
            case _:
                assert_never(layout)


def layout_of_target(target: Path) -> TargetLayout:
    """The layout that a target's name says: that of its suffix, else a folder."""
    suffix = target.suffix.lower()
    return next((layout for layout, suffixes in _SUFFIXES.items() if suffix in suffixes), "diffusers")


def check_target(target: Path, layout: TargetLayout = "diffusers", *, force: bool) -> None:
    """Refuse a target before anything is read or fetched.

    Raises:
        RequestError: it exists, or its name does not fit the layout.
    """
    if layout not in ("diffusers", *_SUFFIXES):
        raise RequestError(f"layout {layout!r} is not offered; choose diffusers, upstream, safetensors or nunchaku")
    suffix = target.suffix.lower()
    if layout in _SUFFIXES and suffix not in _SUFFIXES[layout]:
        raise RequestError(f"{target} is no name for the {layout} layout, which is a {_SUFFIXES[layout][0]} file")
    if layout == "diffusers" and suffix in _OTHER_FILES:
        raise RequestError(
            f"{target} looks like a file and the diffusers layout is a folder; a file ends in .pth or .safetensors"
        )
    if layout in _SUFFIXES and target.is_dir():
        raise RequestError(f"{target} is a folder, and the {layout} layout is a file; choose another name")
    if layout == "diffusers" and target.is_file():
        raise RequestError(f"{target} is a file, and the diffusers layout is a folder; choose another name")
    if not force:
        check_free(target)


def _add_parts(
    parts: ModelParts, hub: HubOptions, autoencoder: str | Path | None, text_encoder: str | Path | None
) -> ModelParts:
    """Parts that were named, and the starter's small text encoder; others stay missing rather than being downloaded."""
    if autoencoder is not None:
        parts = with_named_autoencoder(parts, hub, autoencoder)
    is_small = parts.card is not None and parts.card.text_encoder == SMALL_TEXT_ENCODER
    if text_encoder is not None or (is_small and parts.text_encoder is None):
        parts = with_text_encoder(parts, text_encoder, hub)
    return parts


def _write_folder(parts: ModelParts, folder: Path) -> list[str]:
    """A whole diffusers folder, one component's folder for a network that is no model by itself, or such of several."""
    transformer = parts.networks.get("transformer")
    if transformer is None:
        several = len(parts.networks) > 1
        for found in parts.networks.values():
            write_network(folder / found.kind.folder if several else folder, read_network(found))
        if several and (text := text_copier(parts)) is not None:
            text(folder)
        return [*(note for found in parts.networks.values() for note in _left_out(found)), *_only_here(parts)]
    card = replace(card_of(parts), hashes=hash_parts(parts))
    networks = map(read_network, parts.networks.values())
    write_model_folder(folder, networks, card, text=text_copier(parts), words=words_of_parts(parts))
    missing = [name for name in COMPONENTS if name not in parts.networks]
    if parts.text_encoder is not None:
        missing.remove("text_encoder")
    absent = [f"the folder has no {name.replace('_', ' ')}: the source has none and none was named" for name in missing]
    own = _left_out(transformer)
    if "controlnet" in parts.networks:
        own = [note for note in own if OF_CONTROLNET not in note]
    return [*own, *absent, *_only_here(parts)]


def _write_upstream(parts: ModelParts, path: Path) -> list[str]:
    """Upstream's names in a ``.pth``."""
    found = _only(parts)
    found.refuse_quantized("the upstream layout")
    layout = found.kind.layouts(found.config).get("upstream")
    if layout is None:
        raise CheckpointError(
            f"{parts.path} is a ControlNet as diffusers computes it, from the latent and with embedders of its own; "
            f"upstream's begins behind the transformer's first block, so one cannot be written as the other"
        )
    network = read_network(found)
    tensors, notes = layout.from_ours(network.tensors), _alone(parts)
    if found.layout == layout:
        stored = read_listed(found.header)
        tensors |= {name: stored[name] for name in found.plan.dropped}
    else:
        rows = [row for row in layout.rows if isinstance(row, Drop) and row.unwritten]
        notes += [f"{row.theirs} is not written: {row.unwritten}" for row in rows]
    if parts.card is not None:
        notes.append("the model card and config are not written: a .pth has no place for them, a safetensors file has")
    write_torch(path, tensors)
    return notes


def _write_single(parts: ModelParts, path: Path) -> list[str]:
    """diffusers' names in one safetensors file, with its config, and a transformer's card, in its metadata."""
    found = _only(parts)
    network = read_network(found)
    metadata = {CONFIG_KEY: json.dumps(network.to_json())}  # shapes alone do not tell every one
    if parts.transformer is not None:
        hashes = hash_parts(replace(parts, networks={"transformer": found}, text_encoder=None))
        card = replace(card_of(parts), hashes=hashes)
        metadata = card_to_metadata(card) | metadata
    write_safetensors(path, network.layout.from_ours(network.tensors), metadata)
    return [*_left_out(found), *_alone(parts)]


def _write_nunchaku(parts: ModelParts, path: Path) -> list[str]:
    """A transformer in svdquant as nunchaku's GPU kernels load it, with its card."""
    if parts.transformer is None:
        raise CheckpointError(f"{parts.path} has no transformer, which is what nunchaku's file holds")
    tensors, metadata = to_nunchaku(read_network(parts.transformer))
    write_safetensors(path, tensors, card_to_metadata(card_of(parts)) | metadata)
    return ["nunchaku ignores the bias of the linear attention's output", *_alone(parts)]


def _only(parts: ModelParts) -> Found[Any, Any]:
    """The network that a single file holds: the transformer of a model, else the only one there is."""
    return parts.networks.get("transformer") or next(iter(parts.networks.values()))


def _left_out(found: Found[Any, Any]) -> list[str]:
    names: dict[str, list[str]] = {}
    for name, reason in found.plan.dropped.items():
        names.setdefault(reason, []).append(name)
    more = {reason: f" and {len(own) - 1} more are" if len(own) > 1 else " is" for reason, own in names.items()}
    return [f"{own[0]}{more[reason]} left out: {reason}" for reason, own in names.items()]


def _only_here(parts: ModelParts) -> list[str]:
    found = parts.networks.get("controlnet")
    if found is None or found.kind.is_of_diffusers(found.config):
        return []
    return ["the ControlNet computes what upstream's does, which diffusers has no class for: it is written for sanakit"]


def _alone(parts: ModelParts) -> list[str]:
    others = len(parts.networks) > 1 or parts.text_encoder is not None
    return ["only the transformer is written; a file in this layout holds nothing else"] if others else []


def text_copier(parts: ModelParts, decoder: Decoder | None = None) -> WriteText | None:
    """Copies the files of the text encoder as they are, a ``.bin`` as safetensors, or writes ``decoder`` instead; None
    where there is none."""
    encoder, tokenizer = parts.text_encoder, parts.tokenizer or parts.text_encoder
    if encoder is None or tokenizer is None:
        return None
    check_text_encoder(encoder)

    def write(folder: Path) -> None:
        if decoder is not None:
            write_decoder(decoder, folder / "text_encoder")
        else:
            _copy_files(encoder, folder / "text_encoder", _TEXT_ENCODER_FILES)
            if (files := text_encoder_files(encoder, parts.variant))[0].suffix != ".safetensors":
                write_safetensors(folder / "text_encoder" / "model.safetensors", read_tensors(files), {})
        _copy_files(tokenizer, folder / "tokenizer", _TOKENIZER_FILES)

    return write


def _copy_files(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    """Copy the files of one component; links, as in the hub's cache, become files."""
    found = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    if not found:
        raise CheckpointError(f"{source} holds none of {', '.join(patterns)}")
    target.mkdir()
    for path in found:
        shutil.copyfile(path, target / path.name)
