"""A language model of a form that is not ours, read and run by transformers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from sanakit.checkpoints.text.decoder_folder import refuse_gaps
from sanakit.common.errors import CheckpointError, SanakitError, first_line, first_sentence, need_transformers, own_code
from sanakit.common.free_memory import refuse_lack

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def check_transformers(what: str = "a text encoder of another form than Llama, Gemma 2 and Gemma 3") -> None:
    """Raises ``SanakitError`` where transformers cannot be imported, so that no file of a user's is blamed for it."""
    need_transformers(what)
    if sys.flags.optimize > 1:
        raise SanakitError(
            "transformers, which runs this text encoder, reads its own docstrings, and they are removed here by python "
            "-OO or PYTHONOPTIMIZE=2; leave that out, or set PYTHONOPTIMIZE=1"
        )
    try:
        from transformers import AutoModel, AutoTokenizer  # noqa: F401, what comes with them is what fails
    except Exception as error:  # of another version, or beside a torchvision of another torch: in many ways
        raise SanakitError(
            f"transformers, which runs this text encoder, cannot be imported here ({first_line(error)}); "
            f"pip install -c constraints.txt '.[transformers]' installs one that fits"
        ) from error


def read_foreign_model(
    folder: Path, dtype: torch.dtype, weights: tuple[str, str | None], num_layers: int | None, how: Mapping[str, bool]
) -> PreTrainedModel:
    """A decoder of transformers, with the weights of that stem and variant; ``how`` are options of transformers.

    Raises:
        CheckpointError: it cannot be read, is no decoder, or a weight or layer is missing.
        SanakitError: transformers does not work here.
    """
    check_transformers()
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
    refuse_gaps(folder, sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"]))
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
