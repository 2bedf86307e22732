"""The ``config.json`` of transformers as the config of our own ``Decoder``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from sanakit.checkpoints.networks.config_fields import count, flag, number, sequence
from sanakit.common.errors import CheckpointError
from sanakit.layers.rotary import RotaryConfig
from sanakit.models.text.decoder_config import DecoderConfig

_ACTIVATIONS: dict[str, Literal["silu", "gelu", "gelu_tanh"]] = {
    "silu": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"
}  # fmt: skip
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
_CLASSES = {"llama": "LlamaModel", "gemma2": "Gemma2Model", "gemma3_text": "Gemma3TextModel"}
_DERIVED = ("head_dim", "num_key_value_heads", "layer_types", "rope_parameters", "rope_scaling")  # where null
_FULL, _SLIDING = "full_attention", "sliding_attention"
_MANY = 10**9  # above every vocabulary, length and base of positions


def decoder_config(fields: Mapping[str, Any]) -> DecoderConfig | None:
    """What a ``config.json`` describes; None of what transformers runs: another architecture, code of its own,
    attention that looks ahead, another activation or way to stretch positions.

    Raises:
        CheckpointError: it is of ours, and a value is of another kind than it should be.
    """
    if fields.get("model_type") == "gemma3" and isinstance(fields.get("text_config"), dict):
        fields = {"auto_map": fields.get("auto_map"), "model_type": "gemma3_text"} | fields["text_config"]
    kind = fields.get("model_type")
    if not isinstance(kind, str) or kind not in _DEFAULTS:
        return None
    if fields.get("auto_map") or fields.get("use_bidirectional_attention"):
        return None
    given = {name: value for name, value in fields.items() if value is not None or name not in _DERIVED}
    return _config(kind, _DEFAULTS[kind] | given)


def transformers_config(config: DecoderConfig) -> dict[str, Any]:
    """The ``config.json`` by which transformers builds the same network."""
    kind = "llama" if not config.is_gemma else "gemma3_text" if config.qk_norm else "gemma2"
    activation = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == config.activation)
    whole, nearby = _rope_parameters(config.rotary), _rope_parameters(config.sliding_rotary or config.rotary)
    fields = {
        "architectures": [_CLASSES[kind]], "model_type": kind, "vocab_size": config.vocab_size,
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


def _config(kind: str, fields: Mapping[str, Any]) -> DecoderConfig | None:
    rotary = _rotary(fields, _FULL)
    sliding_rotary = _rotary(fields, _SLIDING) if kind == "gemma3_text" else None
    activation = fields[name := "hidden_act" if kind == "llama" else "hidden_activation"]
    if not isinstance(activation, str):
        raise CheckpointError(f"{name} in config.json is {activation!r}; it should be the name of an activation")
    if rotary is None or (sliding_rotary is None and kind == "gemma3_text") or activation not in _ACTIVATIONS:
        return None
    num_heads, hidden_size = count(fields, "num_attention_heads", 0), count(fields, "hidden_size", 0)
    config = DecoderConfig(
        vocab_size=count(fields, "vocab_size", 0, most=_MANY),
        hidden_size=hidden_size,
        intermediate_size=count(fields, "intermediate_size", 0, most=_MANY),
        num_layers=count(fields, "num_hidden_layers", 0),
        num_heads=num_heads,
        num_kv_heads=count(fields, "num_key_value_heads", num_heads),
        head_dim=count(fields, "head_dim", hidden_size // num_heads),
        norm_eps=number(fields, "rms_norm_eps", 0),
        activation=_ACTIVATIONS[activation],
        rotary=rotary,
        attention_bias=flag(fields, "attention_bias", False),
    )
    if kind == "llama":
        return replace(config, mlp_bias=flag(fields, "mlp_bias", False))
    kinds = _kinds_of_layers(fields, config.num_layers, 6 if kind == "gemma3_text" else 2)
    if not set(kinds) <= {_FULL, _SLIDING}:
        return None
    has_cap = kind == "gemma2" and fields["attn_logit_softcapping"] is not None  # Gemma 3 has the field alone
    return replace(
        config,
        sliding_layers=tuple(index for index, name in enumerate(kinds) if name == _SLIDING),
        sliding_rotary=sliding_rotary,
        window=count(fields, "sliding_window", 0, most=_MANY),
        query_scale=number(fields, "query_pre_attn_scalar", 0) ** -0.5,
        logit_cap=number(fields, "attn_logit_softcapping", 0) if has_cap else None,
        qk_norm=kind == "gemma3_text",
        is_gemma=True,
    )


def _kinds_of_layers(fields: Mapping[str, Any], num_layers: int, usual: int) -> tuple[str, ...]:
    every = count(fields, "sliding_window_pattern", usual)
    kinds = [_FULL if (index + 1) % every == 0 else _SLIDING for index in range(num_layers)]
    given = [str(name) for name in sequence("layer_types", fields.get("layer_types", kinds))]
    if len(given) != num_layers:
        raise CheckpointError(f"layer_types in config.json names {len(given)} layers of {num_layers}")
    return tuple(given)


def _rotary(fields: Mapping[str, Any], kind: str) -> RotaryConfig | None:
    """The positions of one kind of layer, from a config of any age; None: in a way that is not ours."""
    settings = _table("rope_parameters", fields)
    if _FULL in settings or _SLIDING in settings:
        settings = _table(kind, settings)
    if kind == _FULL:
        settings = {**settings, **_table("rope_scaling", fields)}
    way = settings.get("rope_type", settings.get("type", "default"))
    if way not in ("default", "linear", "llama3") or {**fields, **settings}.get("partial_rotary_factor", 1) != 1:
        return None
    theta = number(
        settings, "rope_theta", fields["rope_theta" if kind == _FULL else "rope_local_base_freq"], most=_MANY
    )
    if way == "default":
        return RotaryConfig(theta=theta)
    factor = number(settings, "factor", 0)
    if way == "linear":
        return RotaryConfig(theta=theta, factor=factor)
    length = fields.get("max_position_embeddings", 0)
    return RotaryConfig(
        theta=theta,
        factor=factor,
        original_length=count(settings, "original_max_position_embeddings", length, most=_MANY),
        low=number(settings, "low_freq_factor", 0),
        high=number(settings, "high_freq_factor", 0),
    )


def _rope_parameters(rotary: RotaryConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"rope_type": "default", "rope_theta": rotary.theta}
    if rotary.factor != 1:
        fields |= {"rope_type": "linear", "factor": rotary.factor}
    if rotary.original_length is not None:
        fields |= {
            "rope_type": "llama3", "factor": rotary.factor, "low_freq_factor": rotary.low,
            "high_freq_factor": rotary.high, "original_max_position_embeddings": rotary.original_length,
        }  # fmt: skip
    return fields


def _table(name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be a table")
    return value or {}
