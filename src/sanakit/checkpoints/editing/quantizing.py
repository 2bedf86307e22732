"""A model folder whose weights are kept in fewer bits than those of the model that it is made from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sanakit.checkpoints.diffusers_layout import write_model_folder
from sanakit.checkpoints.editing.convert import text_copier
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.networks.finite import check_finite
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.kind import QUANTIZATION, NetworkState
from sanakit.checkpoints.networks.strict_load import quantize_found_, read_network
from sanakit.checkpoints.sources.complete import card_of, words_of_parts
from sanakit.checkpoints.sources.content_hashes import hash_parts
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.checkpoints.text.decoder_folder import read_decoder
from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.checkpoints.text.text_encoder_check import check_text_encoder
from sanakit.checkpoints.text.text_encoder_folder import text_encoder_files
from sanakit.common.errors import CheckpointError, ConfigError, RequestError
from sanakit.common.files import written_aside
from sanakit.models.text.decoder import Decoder
from sanakit.quantization.quantize import Quantization, Seen, quantize_
from sanakit.quantization.schemes import Scheme

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizedModel:
    """What was written: the card, and by component which layers are in which scheme and why others are not."""

    card: ModelCard
    quantizations: Mapping[str, Quantization]


def quantize_model(
    source: str | Path,
    target: Path,
    schemes: Mapping[str, Scheme | Quantization],
    *,
    seen: Seen | None = None,
    hub: HubOptions | None = None,
    force: bool = False,
) -> QuantizedModel:
    """Write a model in fewer bits, whole or not at all; what stays wide keeps the dtype that it is stored in.

    A text encoder that the source borrows, or that transformers runs, stays as it is: its scheme is in the card, and
    followed as the folder is loaded.

    Args:
        source: a folder, file, hub id or ``starter``, of plain weights.
        target: the new folder.
        schemes: by component, or the layers of one with the scheme of each; others stay as they are.
        seen: what the transformer's layers were given in calibration, which svdquant needs.

    Raises:
        CheckpointError: the source cannot be read, or holds no numbers.
        RequestError: it is quantized already, or what is to be quantized is not there or has no layer that can be.
        OutputError: the target cannot be written.
    """
    parts = find_parts(source, hub=hub)
    if "transformer" not in parts.networks:
        raise CheckpointError(f"{parts.path} has no transformer, so it is no model to be quantized")
    if "autoencoder" not in parts.networks and "autoencoder" in schemes:
        schemes = {name: scheme for name, scheme in schemes.items() if name != "autoencoder"}
        if not schemes:
            raise RequestError(f"{parts.path} has no autoencoder, so it cannot be quantized")
        logger.warning("%s has no autoencoder, so none is quantized", parts.path)
    quantizations: dict[str, Quantization] = {}
    states = [_quantized(found, schemes.get(name), quantizations, seen) for name, found in parts.networks.items()]
    hashes = {**_other_hashes(parts), **{each.kind.component: hash_tensors(each.tensors) for each in states}}
    decoder = _quantized_decoder(parts, schemes.get("text_encoder"), quantizations)
    if decoder is not None:
        hashes["text_encoder"] = hash_tensors(decoder.state_dict())
    names = {name: each.name for name, each in quantizations.items()}
    if (ordered := schemes.get("text_encoder")) is not None:
        names["text_encoder"] = ordered.name
    card = card_of(parts)
    card = replace(card, name=f"{card.name}-{names.get('transformer', 'quantized')}", quantization=names, hashes=hashes)
    with written_aside(target, force=force) as path:
        write_model_folder(path, states, card, text=text_copier(parts, decoder), words=words_of_parts(parts))
    return QuantizedModel(card=card, quantizations=quantizations)


def _quantized(
    found: Found[Any, Any],
    scheme: Scheme | Quantization | None,
    quantizations: dict[str, Quantization],
    seen: Seen | None,
) -> NetworkState[Any, Any]:
    """One network as stored, or in its scheme; what was done is noted."""
    state = read_network(found)
    if scheme is None:
        return state
    if found.quantization:
        raise RequestError(
            f"{found.header.place} is quantized already ({found.quantization.name}); begin with the plain model"
        )
    check_finite(state.tensors.items(), found.header.place)
    model = state.build().eval()
    quantizations[found.kind.component] = quantize_found_(model, found, scheme, seen)
    return NetworkState.of(found.kind, model)


def _quantized_decoder(
    parts: ModelParts, scheme: Scheme | Quantization | None, quantizations: dict[str, Quantization]
) -> Decoder | None:
    """The text encoder in its scheme, as it is to be written; None where it is not ours to write."""
    folder = parts.text_encoder
    if folder is None or scheme is None or isinstance(scheme, Quantization):
        return None
    fields = check_text_encoder(folder)
    if fields.get(QUANTIZATION):
        raise RequestError(f"the text encoder in {folder} is quantized already; begin with the plain model")
    if (config := decoder_config(fields)) is None:
        return None
    decoder = read_decoder(config, folder, text_encoder_files(folder, parts.variant), num_layers=None)
    decoder.eval().requires_grad_(False)
    try:
        quantizations["text_encoder"] = quantize_(decoder, scheme)
    except (RequestError, ConfigError) as error:
        raise type(error)(f"{folder}: {error}") from error
    return decoder


def _other_hashes(parts: ModelParts) -> dict[str, str]:
    """Of the text encoder, as it is or as the card says of one that is borrowed."""
    known = {} if parts.variant or parts.card is None else dict(parts.card.hashes)
    others = replace(parts, networks={})
    return {**known, **hash_parts(others)}
