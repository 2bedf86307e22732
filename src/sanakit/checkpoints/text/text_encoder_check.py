"""What a text encoder's configs say against it, told before anything of it or of its model is loaded."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from sanakit.checkpoints.files.hub_check import Snapshot
from sanakit.checkpoints.files.reader import is_there, read_json
from sanakit.checkpoints.networks.kind import QUANTIZATION
from sanakit.common.config import CONFIGS_WITH_CODE, code_of_others
from sanakit.common.errors import CheckpointError
from sanakit.quantization.quantize import METHOD

_QUANTIZED = ("quantization_config", "compression_config")  # of config.json
_QUANTIZED_FILES = ("quantization_config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json")


def check_text_encoder(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a language model that can be an encoder of prompts.

    Raises:
        CheckpointError: there is none, its weights are quantized by another program, or it is no decoder.
    """
    if not is_there(folder / "config.json"):
        raise CheckpointError(f"{folder} holds no text encoder: there is no config.json in it")
    refuse_marks(folder)
    try:
        config = read_json(folder / "config.json")
    except CheckpointError as error:
        raise CheckpointError(f"{folder} could not be read as a text encoder: {error}") from error
    if (found := _quantization(config, folder)) is not None:
        raise CheckpointError(
            f"the text encoder in {folder} is quantized ({found}) and sanakit reads plain weights; name the model that "
            f"it was made from with text_encoder"
        )
    if config.get("is_encoder_decoder") or _is_masked(config):
        kind = config.get("model_type", "unknown")
        raise CheckpointError(f"{folder} holds a {kind} model, not a decoder-only language model")
    return config


def refuse_code_of_others(folder: Path) -> None:
    """A source that is trusted may name code of another repository, which nobody trusted.

    Raises:
        CheckpointError: it does.
    """
    snapshot = Snapshot.around(folder)
    for path in (folder / name for name in CONFIGS_WITH_CODE):
        if is_there(path) and (other := code_of_others(path, snapshot.repo if snapshot else "")):
            raise CheckpointError(
                f"{path} asks for code of another repository, {other}, which is not run; put that repository's .py "
                f"files into the folder and name them there without it"
            )


def refuse_marks(folder: Path) -> None:
    """transformers reads no JSON that begins with a byte order mark, and calls it invalid."""
    for path in sorted(folder.glob("*.json")):
        if is_there(path):
            with path.open("rb") as file:
                if file.read(len(BOM_UTF8)) == BOM_UTF8:
                    raise CheckpointError(
                        f"{path} begins with a byte order mark, which transformers does not read; save it without"
                    )


def _quantization(config: dict[str, Any], folder: Path) -> str | None:
    """The method and the bits; None of plain weights."""
    text = config.get("text_config")
    places = [config, text if isinstance(text, dict) else {}]
    settings: Any = next((place[name] for place in places for name in _QUANTIZED if place.get(name)), None)
    if settings is None:
        file = next((name for name in _QUANTIZED_FILES if is_there(folder / name)), None)
        return None if file is None else f"as {file} says"
    if not isinstance(settings, dict):
        return str(settings)
    if settings.get("quant_method") == METHOD and settings is config.get(QUANTIZATION):
        return None
    bits = settings.get("bits") or next((n for n in (4, 8) if settings.get(f"load_in_{n}bit")), None)
    method = str(settings.get("quant_method") or settings.get("quant_algo") or "unknown method")
    return f"{method}, {bits} bits" if bits else method


def _is_masked(config: dict[str, Any]) -> bool:
    """Of a model that looks ahead, such as BERT, by the classes that it names."""
    classes = config.get("architectures")
    return isinstance(classes, list) and any(str(name).endswith(("ForMaskedLM", "ForPreTraining")) for name in classes)
