"""Reads a language model and its tokenizer from transformers' folders, such as ``text_encoder/`` and ``tokenizer/``."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch

from sanakit.checkpoints.files.reader import find_weight_files, is_there, read_header
from sanakit.checkpoints.files.weight_names import choose_variant, variants_among
from sanakit.checkpoints.networks.kind import QUANTIZATION
from sanakit.checkpoints.networks.strict_load import settle_
from sanakit.checkpoints.text.decoder_folder import read_decoder, write_decoder
from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.checkpoints.text.text_encoder_check import check_text_encoder, refuse_code_of_others
from sanakit.checkpoints.text.tokenizer_folder import check_vocabulary, load_tokenizer
from sanakit.checkpoints.text.transformers_folder import read_foreign_model
from sanakit.common.errors import CheckpointError, ConfigError, RequestError
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.language_model import LanguageModel
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.quantization.quantize import Quantization, quantize_
from sanakit.quantization.schemes import Scheme

logger = logging.getLogger(__name__)


def load_text_encoder(
    folder: Path,
    tokenizer_folder: Path | None = None,
    *,
    dtype: torch.dtype = torch.bfloat16,
    config: TextEncoderConfig | None = None,
    variant: str | None = None,
    trust_remote_code: bool = False,
    quantize: Scheme | None = None,
) -> TextEncoder:
    """Load a decoder-only language model strictly, on the CPU; a saved language head is left out.

    Llama, Gemma 2 and Gemma 3 are networks of ours; transformers is imported for every other form alone.

    Args:
        folder: ``config.json`` and ``model*.safetensors`` or ``pytorch_model*.bin``, of a bare decoder or a causal
            language model; of a ``.bin`` tensors are read and nothing else.
        tokenizer_folder: ``tokenizer.json`` and its config; ``folder`` if not given.
        dtype: bfloat16 or float32.
        config: instruction and lengths; with ``num_layers`` the layers after these are not read.
        trust_remote_code: run the code that came with the folder, if its config names some.
        variant: preferred weight files, as in ``model.bf16.safetensors``; others serve if there are none.
        quantize: exchange its layers for ones in this scheme; but not a table of embeddings in half precision, which
            stays in its file, where a row is looked up and widened.

    Raises:
        CheckpointError: a file is missing or broken, a weight or a layer is missing, or model and tokenizer do not fit.
        ConfigError: ``dtype`` is neither bfloat16 nor float32.
        RequestError: it lies there in another scheme than ``quantize``.
    """
    start = time.perf_counter()
    num_layers = config.num_layers if config is not None else None
    fields = check_text_encoder(folder)
    try:
        ours = decoder_config(fields)
        stored = Quantization.from_json(fields[QUANTIZATION]) if fields.get(QUANTIZATION) else Quantization()
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{folder} could not be read as a text encoder: {error}") from error
    if trust_remote_code:
        for place in (folder, tokenizer_folder or folder):
            refuse_code_of_others(place)
    files = text_encoder_files(folder, variant)
    if ours is None and files[0].suffix != ".safetensors":
        read_header(files)  # which tells of damage, and of what is no archive of tensors
    tokenizer = load_tokenizer(tokenizer_folder or folder, trust_remote_code=trust_remote_code)
    model: LanguageModel
    if ours is not None:
        model = read_decoder(ours, folder, files, num_layers=num_layers, quantization=stored)
    else:
        how = {"local_files_only": True, "trust_remote_code": trust_remote_code}
        model = read_foreign_model(folder, dtype, _weights_name(folder, variant), num_layers, how)
    check_vocabulary(tokenizer, model.config.vocab_size, tokenizer_folder or folder)
    table: Any = model.embed_tokens if isinstance(model, Decoder) else model.get_input_embeddings()
    in_file = [table] if type(table) is torch.nn.Embedding and table.weight.element_size() < 4 else []
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    if stored and quantize is not None and quantize.name != stored.name.partition(" and ")[0]:
        raise RequestError(f"{folder}: it is quantized already ({stored.name}); begin with the plain one")
    if quantize is not None and not stored:
        quantize_(model, quantize, only=[name for name, layer in model.named_modules() if layer not in in_file])
    settle_(model, folder, dtype=dtype, as_stored=in_file)
    encoder = TextEncoder(model, tokenizer, config)
    logger.info("loaded text encoder: %.0fM parameters in %s in %.1f s", millions, dtype, time.perf_counter() - start)
    return encoder


def save_text_encoder(encoder: TextEncoder, folder: Path, tokenizer_folder: Path) -> None:
    """Write it as ``load_text_encoder`` and transformers read it."""
    if isinstance(encoder.model, Decoder):
        write_decoder(encoder.model, folder)
    else:
        encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(tokenizer_folder)


def text_encoder_files(folder: Path, variant: str | None = None) -> tuple[Path, ...]:
    """The files of weights that ``load_text_encoder`` reads."""
    stem, variant = _weights_name(folder, variant)
    return find_weight_files(folder, stem=stem, variant=variant)


def _weights_name(folder: Path, wanted: str | None) -> tuple[str, str | None]:
    """Stem and variant to read: safetensors before others, the wanted variant before the plain one or the only one."""
    if not is_there(folder / "config.json"):
        raise CheckpointError(f"{folder} holds no text encoder: there is no config.json in it")
    names = [path.name for path in folder.iterdir()]
    for stem in ("model", "pytorch_model"):
        if variants := variants_among(names, stem):
            return stem, choose_variant(variants, wanted, holder=f"{folder} holds its weights")
    raise CheckpointError(f"{folder} holds no weights: there is no model.safetensors or pytorch_model.bin in it")
