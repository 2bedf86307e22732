"""A finished run as a model folder that sanakit and diffusers open."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sanakit.adapters.new import AdapterConfig
from sanakit.checkpoints.adapters.files import NAMES
from sanakit.checkpoints.adapters.write import tags, write_adapter
from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, ModelCard
from sanakit.checkpoints.identity.precision import DTYPES
from sanakit.features.configs import LatentDataConfig, ScenesData
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiTConfig
from sanakit.training.recipes.transformer.networks import build_transformer
from sanakit.training.recipes.transformer.starting_model import StartingModel
from sanakit.worlds.banks.bank_files import load_bank, read_names
from sanakit.worlds.words.table import words_of


def export_model(
    weights: Mapping[str, Tensor], start: StartingModel, card: ModelCard, words: Mapping[str, Any], folder: Path
) -> ModelBundle:
    """Write ``folder`` in the diffusers layout, the transformer in the first dtype of its policy.

    Args:
        weights: of the transformer, averaged, whole.
        start: what the run began with: its encoders.
        card: for the size of the last stage; completed here.
        words: that the model knows, if anybody says.
        folder: the target, in the folder that names the run; an earlier export is replaced.

    Returns:
        the model as a user will load it on the CPU: the weights rounded to that dtype, computing in float32.
    """
    config = start.transformer.config
    transformer = build_transformer(config)
    transformer.load_state_dict(dict(start.folded(weights)))
    autoencoder = start.encoders.latents
    is_small = card.text_encoder == SMALL_TEXT_ENCODER  # such a model is stored as the starter is
    stored = autoencoder.bfloat16() if is_small else autoencoder
    defaults = card.defaults
    if not card.distilled and isinstance(config, LinearDiTConfig):
        defaults = replace(defaults, pag_layers=defaults.pag_layers or (config.num_layers // 2,))
    card = replace(card, name=folder.parent.name, defaults=defaults)
    dtype = DTYPES[card.precision.dtypes["transformer"][0]]
    bundle = ModelBundle(
        transformer=transformer.to(dtype).eval(),
        autoencoder=stored,
        text_encoder=start.encoders.text,
        card=card,
        words=words,
    )
    card = save_bundle(bundle, folder, include_text_encoder=start.brings_text_encoder, force=True)
    return ModelBundle(
        transformer=transformer.float(),
        autoencoder=stored.float().cpu(),
        text_encoder=start.encoders.text,
        card=card,
        words=words,
    )


def export_adapter(
    weights: Mapping[str, Tensor], start: StartingModel, config: AdapterConfig, card: ModelCard, folder: Path
) -> ModelBundle:
    """Write the adapter into ``folder``, in diffusers' layout.

    Args:
        weights: of the adapter, averaged, whole.
        start: what the run began with.
        config: of the adapter.
        card: for the size of the last stage.
        folder: the target, in the folder that names the run; an earlier export is replaced.

    Returns:
        the model that it was made for, carrying it, on the CPU.
    """
    network = start.network(weights)
    assert start.adapter is not None
    assert start.layers is not None
    adapter = deepcopy(start.adapter).cpu()
    adapter.load_state_dict(dict(weights))
    title = folder.parent.name
    facts = tags(title=title, trained_on=card.trained_from, trigger=config.trigger)
    write_adapter(folder / NAMES[0], adapter, start.layers, facts=facts, force=True)
    return ModelBundle(
        transformer=network.eval(),
        autoencoder=start.encoders.autoencoder.float().cpu(),
        text_encoder=start.encoders.text,
        card=replace(card, name=title),
        words=start.words,
    )


def words_after(data: LatentDataConfig, start: StartingModel) -> Mapping[str, Any]:
    """What ``words.json`` says after a run: the words of a bank, or those from before, which are no longer all."""
    if isinstance(data, ScenesData):
        names = None if data.names is None else read_names(data.names)
        return words_of(load_bank(data.bank), names, moving=isinstance(start.transformer.config, VideoDiTConfig))
    return {**start.words, "tells_unknown": False} if start.words else {}
