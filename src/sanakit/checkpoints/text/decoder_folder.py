"""Our own ``Decoder`` from a folder of transformers, and back: its tensors, whatever wraps them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from sanakit.checkpoints.files.reader import read_header, read_listed
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.checkpoints.networks.finite import check_finite
from sanakit.checkpoints.networks.kind import QUANTIZATION, NoInitialValues
from sanakit.checkpoints.text.decoder_json import transformers_config
from sanakit.common.errors import CheckpointError
from sanakit.common.files import write_json
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.decoder_config import DecoderConfig
from sanakit.quantization.quantize import Quantization, lay_out_, quantization_of


def read_decoder(
    config: DecoderConfig,
    folder: Path,
    files: Sequence[Path],
    *,
    num_layers: int | None,
    quantization: Quantization | None = None,
) -> Decoder:
    """The network with the tensors of ``files``; what stands beside it there, a head or a vision part, is left out.

    All are as they are stored, and mapped. The table of embeddings has been looked through: a text needs some rows of
    it, and what was read for that is let go. ``quantization`` names the layers that lie there in fewer bits.

    Raises:
        CheckpointError: a file is damaged, a tensor or layer is missing, or one is there that its config does not name.
    """
    if num_layers is not None:
        if num_layers > config.num_layers:
            raise CheckpointError(
                f"the text encoder in {folder} has {config.num_layers} layers, not num_layers={num_layers}"
            )
        config = config.first_layers(num_layers)
    header = read_header(files)
    found = header.tensors
    prefix = next((n.removesuffix("embed_tokens.weight") for n in found if n.endswith("embed_tokens.weight")), "")
    if f"{prefix}layers.{config.num_layers - 1}.input_layernorm.weight" not in found:  # before they are made
        raise CheckpointError(
            f"the text encoder in {folder} has fewer layers than the {config.num_layers} that its config.json says, or "
            f"lacks weights of them; the folder is incomplete or its config.json is another model's"
        )
    with torch.device("meta"), NoInitialValues():
        model = Decoder(config)
        lay_out_(model, _of_layers(quantization or Quantization(), config.num_layers))
    expected = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    gaps = [name for name, each in expected.items() if name not in found or found[name].shape != tuple(each.shape)]
    refuse_gaps(folder, gaps)
    _refuse_other_numbers(folder, {name: (str(each.dtype), found[name].dtype) for name, each in expected.items()})
    _refuse_strangers(folder, found.keys() - expected.keys(), prefix, config.num_layers)
    tensors = read_listed(header)
    check_finite([(name, tensors[name]) for name in [f"{prefix}embed_tokens.weight"]], folder)
    model.load_state_dict({name.removeprefix(prefix): tensors[name] for name in expected}, assign=True)
    return model


@lru_cache
def decoder_parameters(config: DecoderConfig) -> int:
    """Counted on a network without memory."""
    with torch.device("meta"), NoInitialValues():
        return sum(parameter.numel() for parameter in Decoder(config).parameters())


def write_decoder(model: Decoder, folder: Path) -> None:
    """``config.json`` and ``model.safetensors``, as transformers has them; of layers in fewer bits the first says which
    they are, and the second holds their scales."""
    folder.mkdir(exist_ok=True)
    dtype = str(model.compute_dtype).removeprefix("torch.")
    quantization = quantization_of(model)
    scales = {QUANTIZATION: quantization.to_json()} if quantization else {}
    write_json(folder / "config.json", transformers_config(model.config) | {"dtype": dtype} | scales)
    write_safetensors(folder / "model.safetensors", model.state_dict(), {})


def refuse_gaps(folder: Path, gaps: Sequence[str]) -> None:
    """Raises ``CheckpointError`` where weights are missing; random ones would make plausible nonsense."""
    if gaps:
        shown = ", ".join(gaps[:3]) + (", ..." if len(gaps) > 3 else "")
        raise CheckpointError(
            f"the text encoder in {folder} lacks {len(gaps)} of its weights or has them in another shape ({shown}); "
            f"the folder is incomplete or its config.json is another model's"
        )


def _of_layers(quantization: Quantization, num_layers: int) -> Quantization:
    """Without the layers after so many."""
    indices = {name: re.match(r"layers\.(\d+)\.", name) for name in quantization.layers}
    kept = {name for name, index in indices.items() if index is None or int(index[1]) < num_layers}
    return Quantization(layers={name: scheme for name, scheme in quantization.layers.items() if name in kept})


def _refuse_other_numbers(folder: Path, dtypes: Mapping[str, tuple[str, str]]) -> None:
    """Numbers of 8 bits are due where a scheme keeps them, and there alone."""
    for name, (due, found) in dtypes.items():
        due = due.removeprefix("torch.")
        if due != found and any(mark in dtype for mark in ("int", "float8") for dtype in (due, found)):
            raise CheckpointError(
                f"the text encoder in {folder} holds {found} numbers as {name}, and its config.json wants {due} ones"
            )


def _refuse_strangers(folder: Path, names: Iterable[str], prefix: str, num_layers: int) -> None:
    """Weights in a layer that our network has no place for: without them it would compute something else."""
    layer = re.compile(re.escape(prefix) + r"layers\.(\d+)\.(?!.*rotary_emb\.inv_freq$)")  # which old files keep
    strangers = sorted(name for name in names if (found := layer.match(name)) and int(found[1]) < num_layers)
    if strangers:
        raise CheckpointError(
            f"the text encoder in {folder} has {len(strangers)} weights that its config.json says nothing of, such as "
            f"{strangers[0]}; the config.json is another model's"
        )
