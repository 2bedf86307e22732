"""Writing a diffusers folder: the form in which a model made or converted here opens everywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.files.writer import write_weights
from sanakit.checkpoints.identity.card import ModelCard, write_card
from sanakit.checkpoints.networks.dc_ae_keys import DIFFUSERS_DC_AE
from sanakit.checkpoints.networks.diffusers_config import DIFFUSERS_VERSION, Json, dc_ae_to_json, linear_dit_to_json
from sanakit.checkpoints.networks.linear_dit_keys import diffusers_linear_dit
from sanakit.common.files import write_json
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.sampling.solvers import solver_kind


def write_linear_dit(
    folder: Path, config: LinearDiTConfig, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]
) -> None:
    """``transformer/``: the config and the weights, from our tensors."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", linear_dit_to_json(config))
    theirs = diffusers_linear_dit(guidance_embeds=config.guidance_embeds).from_ours(tensors)
    write_weights(folder, theirs, metadata=metadata)


def write_dc_ae(
    folder: Path, config: DCAutoencoderConfig, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]
) -> None:
    """``vae/``: the config and the weights, from our tensors."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", dc_ae_to_json(config))
    write_weights(folder, DIFFUSERS_DC_AE.from_ours(tensors), metadata=metadata)


def write_frame(folder: Path, card: ModelCard) -> None:
    """What holds the components together: ``model_index.json``, ``scheduler/`` and the card; written last."""
    (folder / "scheduler").mkdir()
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler_to_json(card))
    write_json(folder / "model_index.json", model_index(folder))
    write_card(card, folder)


def scheduler_to_json(card: ModelCard) -> Json:
    """The scheduler that diffusers' ``SanaPipeline`` runs with this model."""
    kind = solver_kind(card.solver)
    settings = kind(num_steps=card.num_inference_steps, flow_shift=card.flow_shift).to_diffusers()
    return {"_class_name": kind.diffusers_class, "_diffusers_version": DIFFUSERS_VERSION, **settings}


def model_index(folder: Path) -> Json:
    """Library and class of every component in the folder; ``[null, null]`` for one that is not in it."""
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")["_class_name"]
    return {
        "_class_name": "SanaPipeline",
        "_diffusers_version": DIFFUSERS_VERSION,
        "scheduler": ["diffusers", scheduler],
        "text_encoder": text_encoder_class(folder / "text_encoder"),
        "tokenizer": tokenizer_class(folder / "tokenizer"),
        "transformer": ["diffusers", "SanaTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderDC"] if (folder / "vae").is_dir() else [None, None],
    }


def text_encoder_class(folder: Path) -> list[Any]:
    """The bare decoder's class: a model saved with its language head opens as one too."""
    if not folder.is_dir():
        return [None, None]
    architecture = (read_json(folder / "config.json").get("architectures") or ["AutoModel"])[0]
    return ["transformers", architecture.replace("ForCausalLM", "Model")]


def tokenizer_class(folder: Path) -> list[Any]:
    if not folder.is_dir():
        return [None, None]
    path = folder / "tokenizer_config.json"
    name = read_json(path).get("tokenizer_class") if path.is_file() else None
    return ["transformers", name or "AutoTokenizer"]
