"""Language models from folders: strictly, whether saved bare or with their head."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, processors
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from sanakit.checkpoints.networks.text_encoder_folder import load_text_encoder
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.models.text.text_encoder import TextEncoderConfig

CONFIG = TextEncoderConfig(instruction="word5 ", max_tokens=8)


def save_tokenizer(folder: Path, num_tokens: int) -> None:
    vocabulary = {"<bos>": 0, "<unk>": 1} | {f"word{i}": i for i in range(2, num_tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<unk>").save_pretrained(folder)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model of 1100 tokens and its tokenizer in one folder."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1100, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, 1100)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "llama"))


def test_head_is_dropped_and_weights_are_the_saved_ones(folder: Path) -> None:
    bar = transformers_logging.is_progress_bar_enabled()
    encoder = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    assert type(encoder.model) is LlamaModel
    saved = load_file(folder / "model.safetensors")
    state = encoder.model.state_dict()
    assert all(torch.equal(state[name], saved[f"model.{name}"]) for name in state)
    assert transformers_logging.is_progress_bar_enabled() == bar
    assert load_text_encoder(folder, config=CONFIG).compute_dtype == torch.bfloat16


def test_bare_decoder_and_a_tokenizer_folder(folder: Path, tmp_path: Path) -> None:
    encoder = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    encoder.model.save_pretrained(tmp_path / "text_encoder")
    again = load_text_encoder(tmp_path / "text_encoder", folder, dtype=torch.float32, config=CONFIG)
    assert torch.equal(again.encode(["word7 word9"])[0].embeds, encoder.encode(["word7 word9"])[0].embeds)


def test_missing_weights_are_not_invented(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 of its weights.*layers\.1\.mlp\.up_proj\.weight"):
        load_text_encoder(folder, config=CONFIG)


def test_truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"weights in .* are damaged or cut short"):
        load_text_encoder(folder, config=CONFIG)


def test_variants(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.bf16.safetensors")
    assert load_text_encoder(folder, config=CONFIG).hidden_size == 16  # the only one there is
    assert load_text_encoder(folder, config=CONFIG, variant="bf16").hidden_size == 16
    shutil.copy(folder / "model.bf16.safetensors", folder / "model.fp16.safetensors")
    with pytest.raises(CheckpointError, match="as bf16 and fp16; choose one with variant"):
        load_text_encoder(folder, config=CONFIG)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors; pickled weights"):
        load_text_encoder(folder, config=CONFIG)


def test_not_a_language_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no config\.json"):
        load_text_encoder(tmp_path / "nowhere", config=CONFIG)
    (folder / "config.json").write_text("{broken")
    with pytest.raises(CheckpointError, match="could not be read as a text encoder"):
        load_text_encoder(folder, config=CONFIG)
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(CheckpointError, match="t5 model, not a decoder-only"):
        load_text_encoder(folder, config=CONFIG)


def test_tokenizers_that_do_not_belong(folder: Path, tmp_path: Path) -> None:
    for num_tokens in (5, 1200):
        save_tokenizer(tmp_path / str(num_tokens), num_tokens)
        with pytest.raises(CheckpointError, match=f"has {num_tokens} tokens and the text encoder knows 1100"):
            load_text_encoder(folder, tmp_path / str(num_tokens), config=CONFIG)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"the tokenizer in .* could not be read"):
        load_text_encoder(folder, config=CONFIG)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"there is no tokenizer\.json or tokenizer\.model"):
        load_text_encoder(folder, config=CONFIG)


def test_float16_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="float16; it must run in bfloat16 or float32"):
        load_text_encoder(folder, dtype=torch.float16, config=CONFIG)
