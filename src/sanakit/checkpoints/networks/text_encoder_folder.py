"""Reads a language model and its tokenizer from transformers' folders, such as ``text_encoder/`` and ``tokenizer/``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from sanakit.checkpoints.files.reader import find_weight_files, is_there, read_header
from sanakit.checkpoints.files.weight_names import choose_variant, variants_among
from sanakit.checkpoints.networks.finite import check_finite
from sanakit.checkpoints.networks.library import check_transformers
from sanakit.checkpoints.networks.text_encoder_check import check_text_encoder, refuse_code_of_others
from sanakit.checkpoints.networks.tokenizer_folder import check_vocabulary, load_tokenizer
from sanakit.common.errors import CheckpointError, first_sentence, own_code
from sanakit.common.free_memory import refuse_lack
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)


def load_text_encoder(
    folder: Path,
    tokenizer_folder: Path | None = None,
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    config: TextEncoderConfig | None = None,
    variant: str | None = None,
    trust_remote_code: bool = False,
) -> TextEncoder:
    """Load a decoder-only language model strictly; a saved language head is left out.

    Args:
        folder: ``config.json`` and ``model*.safetensors`` or ``pytorch_model*.bin``, of a bare decoder or a causal
            language model; of a ``.bin`` tensors are read and nothing else.
        tokenizer_folder: ``tokenizer.json`` and its config; ``folder`` if not given.
        dtype: bfloat16 or float32.
        config: instruction and lengths; with ``num_layers`` the layers after these are not read.
        trust_remote_code: run the code that came with the folder, if its config names some.
        variant: preferred weight files, as in ``model.bf16.safetensors``; others serve if there are none.

    Raises:
        CheckpointError: a file is missing or broken, a weight or a layer is missing, or model and tokenizer do not fit.
        ConfigError: ``dtype`` is neither bfloat16 nor float32.
    """
    check_transformers()
    start = time.perf_counter()
    num_layers = config.num_layers if config is not None else None
    how = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    check_text_encoder(folder)
    if trust_remote_code:
        for place in (folder, tokenizer_folder or folder):
            refuse_code_of_others(place)
    files = text_encoder_files(folder, variant)
    if files[0].suffix != ".safetensors":
        read_header(files)  # which tells of damage, and of what is no archive of tensors
    tokenizer = load_tokenizer(tokenizer_folder or folder, trust_remote_code=trust_remote_code)
    model = _load_model(folder, dtype, _weights_name(folder, variant), num_layers, how)
    check_vocabulary(tokenizer, model.config.vocab_size, tokenizer_folder or folder)
    check_finite(model.named_parameters(), folder)
    encoder = TextEncoder(model, tokenizer, config).to(device)
    millions = sum(p.numel() for p in encoder.model.parameters()) / 1e6
    logger.info("loaded text encoder: %.0fM parameters in %s in %.1f s", millions, dtype, time.perf_counter() - start)
    return encoder


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


def _load_model(
    folder: Path, dtype: torch.dtype, weights: tuple[str, str | None], num_layers: int | None, how: Mapping[str, bool]
) -> PreTrainedModel:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(folder, **how)
        if getattr(config, "is_encoder_decoder", False):
            raise CheckpointError(f"{folder} holds a {config.model_type} model, not a decoder-only language model")
        language = config.get_text_config()  # a part of the config where there is a vision part too, as in Gemma 3
        config._attn_implementation = None  # a choice of who saved it, which need not be installed here
        if num_layers is not None:
            _keep_layers(language, num_layers, folder)
        with _quiet_transformers():
            model, report = AutoModel.from_pretrained(
                folder, config=config, dtype=dtype, variant=weights[1], use_safetensors=weights[0] == "model",
                output_loading_info=True, **how,
            )  # fmt: skip
    except SafetensorError as error:
        refuse_lack(error)
        raise CheckpointError(f"the weights in {folder} are damaged or cut short ({error})") from error
    except (MemoryError, CheckpointError):
        raise
    except Exception as error:  # transformers raises many kinds, ImportError and AttributeError among them
        refuse_lack(error)
        reason = own_code(error) or first_sentence(error)
        raise CheckpointError(f"{folder} could not be read as a text encoder: {reason}") from error
    _refuse_gaps(folder, report)
    return model if language is config else _language_part(model, folder)


def _language_part(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    decoder: Any = model.get_decoder()
    if decoder is None or decoder is model:
        raise CheckpointError(f"{folder} holds a {model.config.model_type} model, in which no language model is found")
    return cast("PreTrainedModel", decoder)


def _keep_layers(config: PretrainedConfig, num_layers: int, folder: Path) -> None:
    """The model with its first layers alone, and the norm that follows the last one."""
    if num_layers > config.num_hidden_layers:
        raise CheckpointError(
            f"the text encoder in {folder} has {config.num_hidden_layers} layers, not num_layers={num_layers}"
        )
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_layers]


def _refuse_gaps(folder: Path, report: dict[str, Any]) -> None:
    """transformers fills gaps with random numbers and only logs it; random text states make plausible nonsense."""
    gaps = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if gaps:
        shown = ", ".join(gaps[:3]) + (", ..." if len(gaps) > 3 else "")
        raise CheckpointError(
            f"the text encoder in {folder} lacks {len(gaps)} of its weights or has them in another shape ({shown}); "
            f"the folder is incomplete or its config.json is another model's"
        )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar: drawing one is the command line's business."""
    from transformers.utils import logging as transformers_logging

    was_enabled = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # its report of missing weights comes back as our error
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if was_enabled:
            transformers_logging.enable_progress_bar()
