"""Configs of transformers, old and new, to ours and back; what is not ours is left to transformers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from sanakit.checkpoints.text.decoder_folder import read_decoder, write_decoder
from sanakit.checkpoints.text.decoder_json import decoder_config, transformers_config
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.layers.rotary import RotaryConfig
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.decoder_config import DecoderConfig

GEMMA_2_2B: dict[str, Any] = {  # as published
    "architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "attn_logit_softcapping": 50.0,
    "cache_implementation": "hybrid", "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act":
    "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216,
    "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8, "num_hidden_layers": 26,
    "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
    "sliding_window": 4096, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 256000,
}  # fmt: skip
GEMMA_3_4B: dict[str, Any] = {  # as published, the text part
    "model_type": "gemma3", "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
    },
}  # fmt: skip


def test_published_configs() -> None:
    two, three = decoder_config(GEMMA_2_2B), decoder_config(GEMMA_3_4B)
    assert two == DecoderConfig(
        vocab_size=256_000, hidden_size=2304, intermediate_size=9216, num_layers=26, num_heads=8, num_kv_heads=4,
        head_dim=256, norm_eps=1e-6, activation="gelu_tanh", sliding_layers=tuple(range(0, 26, 2)),
        window=4096, query_scale=1 / 16, logit_cap=50.0, is_gemma=True,
    )  # fmt: skip
    assert three is not None
    assert three.sliding_layers == tuple(i for i in range(34) if i % 6 != 5)
    assert (three.rotary, three.sliding_rotary) == (RotaryConfig(theta=1e6, factor=8.0), RotaryConfig(theta=1e4))
    assert (three.window, three.query_scale, three.qk_norm, three.logit_cap) == (1024, 1 / 16, True, None)


LLAMA_3_2: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 2, "rope_theta": 5e5, "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
}  # fmt: skip


@pytest.mark.parametrize("fields", [GEMMA_2_2B, GEMMA_3_4B, LLAMA_3_2, {"model_type": "llama"}])
def test_configs_round_trip(fields: dict[str, Any]) -> None:
    config = decoder_config(fields)
    assert config is not None
    assert decoder_config(transformers_config(config)) == config


@pytest.mark.parametrize("change", [
    {"model_type": "qwen2"}, {"auto_map": {"AutoModel": "own.py"}}, {"use_bidirectional_attention": True},
    {"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, {"hidden_activation": "relu"},
    {"partial_rotary_factor": 0.5}, {"layer_types": ["chunked_attention"] * 26},
])  # fmt: skip
def test_what_is_not_ours_is_left_to_transformers(change: dict[str, Any]) -> None:
    assert decoder_config(GEMMA_2_2B | change) is None


@pytest.mark.parametrize(("change", "sentence"), [
    ({"hidden_size": "wide"}, "hidden_size in config.json is 'wide'; it should be a number from 1"),
    ({"num_hidden_layers": True}, "num_hidden_layers in config.json is True"),
    ({"num_hidden_layers": 10**7}, "num_hidden_layers in config.json is 10000000"),
    ({"hidden_activation": ["gelu"]}, "hidden_activation in config.json is ['gelu']; it should be the name"),
    ({"head_dim": 0}, "head_dim in config.json is 0"), ({"head_dim": 255}, "head_dim=255 has no halves"),
    ({"sliding_window": None}, "sliding_window in config.json is None"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps in config.json is nan; it should be above 0"),
    ({"query_pre_attn_scalar": -1}, "query_pre_attn_scalar in config.json is -1"),
    ({"num_key_value_heads": 3}, "num_heads=8 cannot share num_kv_heads=3"),
    ({"layer_types": "full"}, "layer_types in config.json is 'full'; it should be a list"),
    ({"layer_types": ["full_attention"]}, "layer_types in config.json names 1 layers of 26"),
    ({"rope_scaling": 8}, "rope_scaling in config.json is 8; it should be a table"),
    ({"rope_scaling": {"rope_type": "linear"}}, "factor in config.json is 0; it should be above 0"),
    ({"attention_bias": 1}, "attention_bias in config.json is 1; it should be true or false"),
])  # fmt: skip
def test_values_of_another_kind_are_told(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        decoder_config(GEMMA_2_2B | change)
    assert str(caught.value).startswith(sentence)


def tiny() -> Decoder:
    torch.manual_seed(0)
    config = DecoderConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=8,
        norm_eps=1e-6, activation="gelu_tanh", sliding_layers=(0,), window=4, query_scale=10**-0.5, logit_cap=5.0,
        is_gemma=True,
    )  # fmt: skip
    return Decoder(config).eval().requires_grad_(False)


def test_what_is_written_is_read_by_both(tmp_path: Path) -> None:
    ids, written = torch.arange(12)[None], tiny()
    write_decoder(written, tmp_path)
    config = decoder_config(AutoConfig.from_pretrained(tmp_path).to_dict())
    assert config == written.config
    ours = read_decoder(config, tmp_path, [tmp_path / "model.safetensors"], num_layers=None)
    theirs = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    torch.testing.assert_close(ours(ids)[0], written(ids)[0], rtol=0, atol=0)
    torch.testing.assert_close(theirs(input_ids=ids).last_hidden_state, written(ids)[0], rtol=1e-5, atol=1e-5)


def test_a_decoder_of_ours_is_read_without_transformers(tmp_path: Path) -> None:
    write_decoder(tiny(), tmp_path)
    code = (
        "import sys, torch\nfrom pathlib import Path\n"
        "from sanakit.checkpoints.files.reader import read_json\n"
        "from sanakit.checkpoints.text.text_encoder_folder import decoder_config, read_decoder\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "config = decoder_config(read_json(folder / 'config.json'))\n"
        "files = [folder / 'model.safetensors']\n"
        "read_decoder(config, folder, files, num_layers=1)\n"
        "print('transformers' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"


def test_more_layers_than_there_are_cost_no_time(tmp_path: Path) -> None:
    write_decoder(tiny(), tmp_path)
    config = replace(tiny().config, num_layers=60_000)
    with pytest.raises(CheckpointError, match=r"fewer layers than the 60000 that its config\.json says"):
        read_decoder(config, tmp_path, [tmp_path / "model.safetensors"], num_layers=None)


def test_a_weight_without_a_place_is_told(tmp_path: Path) -> None:
    written = tiny()
    write_decoder(written, tmp_path)
    file, state = tmp_path / "model.safetensors", written.state_dict()
    for beside in ("lm_head.weight", "layers.0.self_attn.rotary_emb.inv_freq", "layers.2.self_attn.q_proj.weight"):
        save_file({**state, beside: torch.zeros(2)}, file)
        read_decoder(written.config, tmp_path, [file], num_layers=None)
    save_file({**state, "layers.1.self_attn.q_norm.weight": torch.zeros(8)}, file)
    with pytest.raises(CheckpointError, match=r"1 weights .* says nothing of, such as layers\.1\.self_attn\.q_norm"):
        read_decoder(written.config, tmp_path, [file], num_layers=None)
