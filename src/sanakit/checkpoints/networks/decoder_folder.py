"""Our own ``Decoder`` from a folder of transformers, and back: its config, and its tensors whatever wraps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanakit.checkpoints.files.reader import read_header, read_listed
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.errors import CheckpointError
from sanakit.common.files import write_json
from sanakit.models.text.decoder import Decoder, DecoderConfig

_ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
_GEMMA: dict[str, Any] = {
    "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 256, "sliding_window": 4096,
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {  # of transformers, for what a config.json leaves out
    "llama": {
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1e4,
    },
    "gemma2": _GEMMA | {
        "vocab_size": 256_000, "attn_logit_softcapping": 50.0, "rope_theta": 1e4,
    },
    "gemma3_text": _GEMMA | {
        "vocab_size": 262_208, "sliding_window_pattern": 6, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
    },
}  # fmt: skip
_DERIVED = ("head_dim", "num_key_value_heads", "layer_types", "rope_parameters", "rope_scaling")  # where null
_FULL, _SLIDING = "full_attention", "sliding_attention"


def decoder_config(fields: Mapping[str, Any]) -> DecoderConfig | None:
    """What a ``config.json`` describes; None of what is not ours to read, or to refuse: transformers is asked then.

    That is another architecture, code of its own, positions stretched in another way, or values of another kind.
    """
    if fields.get("auto_map"):
        return None
    if fields.get("model_type") == "gemma3" and isinstance(fields.get("text_config"), dict):
        fields = {"model_type": "gemma3_text"} | fields["text_config"]
    kind = fields.get("model_type")
    if not isinstance(kind, str) or kind not in _DEFAULTS or fields.get("use_bidirectional_attention"):
        return None
    try:
        given = {name: value for name, value in fields.items() if value is not None or name not in _DERIVED}
        return _config(kind, _DEFAULTS[kind] | given)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def transformers_config(config: DecoderConfig) -> dict[str, Any]:
    """The ``config.json`` by which transformers builds the same network."""
    kind = "llama" if not config.is_gemma else "gemma3_text" if config.qk_norm else "gemma2"
    classes = {"llama": "LlamaModel", "gemma2": "Gemma2Model", "gemma3_text": "Gemma3TextModel"}
    activation = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == config.activation)
    whole = {"rope_type": "default" if config.rope_factor == 1 else "linear", "rope_theta": config.rope_theta}
    whole |= {} if config.rope_factor == 1 else {"factor": config.rope_factor}
    nearby = {"rope_type": "default", "rope_theta": config.local_rope_theta}
    fields = {
        "architectures": [classes[kind]], "model_type": kind, "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers, "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads, "head_dim": config.head_dim, "rms_norm_eps": config.norm_eps,
        "hidden_activation" if config.is_gemma else "hidden_act": activation, "attention_bias": config.attention_bias,
        "rope_parameters": {_FULL: whole, _SLIDING: nearby} if config.qk_norm else whole,
    }  # fmt: skip
    if not config.is_gemma:
        return fields | {"mlp_bias": config.mlp_bias}
    assert config.query_scale is not None
    scalar = config.query_scale**-2
    return fields | {
        "layer_types": [_SLIDING if i in config.sliding_layers else _FULL for i in range(config.num_layers)],
        "sliding_window": config.window,
        "query_pre_attn_scalar": round(scalar) if abs(scalar - round(scalar)) < 1e-9 * scalar else scalar,
        "attn_logit_softcapping": config.logit_cap,
    }


def read_decoder(
    config: DecoderConfig, folder: Path, files: Sequence[Path], *, dtype: torch.dtype, num_layers: int | None
) -> Decoder:
    """The network with the tensors of ``files``; other tensors there, such as a head or a vision part, are left out.

    Raises:
        CheckpointError: a file is damaged, or a tensor or layer is missing.
    """
    if num_layers is not None:
        if num_layers > config.num_layers:
            raise CheckpointError(
                f"the text encoder in {folder} has {config.num_layers} layers, not num_layers={num_layers}"
            )
        sliding = tuple(index for index in config.sliding_layers if index < num_layers)
        config = replace(config, num_layers=num_layers, sliding_layers=sliding)
    with torch.device("meta"):
        model = Decoder(config)
    header = read_header(files)
    prefix = next(
        (n.removesuffix("embed_tokens.weight") for n in header.tensors if n.endswith("embed_tokens.weight")), ""
    )
    expected = model.state_dict()
    gaps = [
        prefix + name
        for name, tensor in expected.items()
        if prefix + name not in header.tensors or header.tensors[prefix + name].shape != tuple(tensor.shape)
    ]
    refuse_gaps(folder, gaps)
    tensors: Mapping[str, Tensor] = read_listed(header)
    model.load_state_dict({name: tensors[prefix + name].to(dtype) for name in expected}, assign=True)
    return model


def write_decoder(model: Decoder, folder: Path) -> None:
    """``config.json`` and ``model.safetensors``, as transformers reads and writes them."""
    folder.mkdir(exist_ok=True)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    write_json(folder / "config.json", transformers_config(model.config) | {"dtype": dtype})
    write_safetensors(folder / "model.safetensors", model.state_dict(), {})


def refuse_gaps(folder: Path, gaps: Sequence[str]) -> None:
    """Raises ``CheckpointError`` where weights are missing; random ones would make plausible nonsense."""
    if gaps:
        shown = ", ".join(gaps[:3]) + (", ..." if len(gaps) > 3 else "")
        raise CheckpointError(
            f"the text encoder in {folder} lacks {len(gaps)} of its weights or has them in another shape ({shown}); "
            f"the folder is incomplete or its config.json is another model's"
        )


def _config(kind: str, fields: Mapping[str, Any]) -> DecoderConfig | None:
    is_gemma, num_layers = kind != "llama", fields["num_hidden_layers"]
    num_heads, hidden_size = fields["num_attention_heads"], fields["hidden_size"]
    whole, nearby = _rope(fields, _FULL), _rope(fields, _SLIDING) if kind == "gemma3_text" else None
    if whole is None or (nearby is None and kind == "gemma3_text"):
        return None
    pattern = fields.get("sliding_window_pattern", 2)
    kinds = fields.get("layer_types") or [_SLIDING if (i + 1) % pattern else _FULL for i in range(num_layers)]
    if is_gemma and (len(kinds) != num_layers or not set(kinds) <= {_FULL, _SLIDING}):
        return None
    return DecoderConfig(
        vocab_size=_count(fields["vocab_size"]),
        hidden_size=_count(hidden_size),
        intermediate_size=_count(fields["intermediate_size"]),
        num_layers=_count(num_layers),
        num_heads=_count(num_heads),
        num_kv_heads=_count(fields.get("num_key_value_heads", num_heads)),
        head_dim=_count(fields.get("head_dim", hidden_size // num_heads)),
        norm_eps=float(fields["rms_norm_eps"]),
        activation=_ACTIVATIONS[fields["hidden_activation" if is_gemma else "hidden_act"]],  # type: ignore[arg-type]
        rope_theta=whole[0],
        rope_factor=whole[1],
        local_rope_theta=None if nearby is None else nearby[0],
        sliding_layers=tuple(i for i, name in enumerate(kinds) if name == _SLIDING) if is_gemma else (),
        window=_count(fields["sliding_window"]) if is_gemma else 0,
        query_scale=fields["query_pre_attn_scalar"] ** -0.5 if is_gemma else None,
        logit_cap=fields.get("attn_logit_softcapping") if kind == "gemma2" else None,
        attention_bias=bool(fields.get("attention_bias", False)),
        mlp_bias=bool(fields.get("mlp_bias", False)) and not is_gemma,
        qk_norm=kind == "gemma3_text",
        is_gemma=is_gemma,
    )


def _rope(fields: Mapping[str, Any], kind: str) -> tuple[float, float] | None:
    """Base and factor of the positions of one kind of layer, from a config of any age; None: another way."""
    settings = fields.get("rope_parameters", {})
    settings = settings.get(kind, {} if _FULL in settings else settings)
    if kind == _FULL:
        settings = fields.get("rope_scaling", {}) | settings
    way = settings.get("rope_type", settings.get("type", "default"))
    base = settings.get("rope_theta", fields["rope_theta" if kind == _FULL else "rope_local_base_freq"])
    if way not in ("default", "linear") or settings.get("partial_rotary_factor", 1.0) != 1.0:
        return None
    return float(base), float(settings["factor"]) if way == "linear" else 1.0


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(value)
    return value
