"""Language models from folders: strictly, whether saved bare or with their head."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.text.padded import encode_padded
from tokenizers import Tokenizer, models, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder, save_text_encoder
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.models.text.decoder import Decoder
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
    encoder = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    assert type(encoder.model) is Decoder
    saved = load_file(folder / "model.safetensors")
    state = encoder.model.state_dict()
    assert all(torch.equal(state[name], saved[f"model.{name}"]) for name in state)
    assert load_text_encoder(folder, config=CONFIG).compute_dtype == torch.bfloat16


def test_bare_decoder_and_a_tokenizer_folder(folder: Path, tmp_path: Path) -> None:
    encoder = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    save_text_encoder(encoder, tmp_path / "text_encoder", tmp_path / "tokenizer")
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
    with pytest.raises(CheckpointError, match=r"model\.safetensors is cut short or corrupt"):
        load_text_encoder(folder, config=CONFIG)


def test_variants(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.bf16.safetensors")
    assert load_text_encoder(folder, config=CONFIG).hidden_size == 16  # the only one there is
    assert load_text_encoder(folder, config=CONFIG, variant="bf16").hidden_size == 16
    shutil.copy(folder / "model.bf16.safetensors", folder / "model.fp16.safetensors")
    with pytest.raises(CheckpointError, match="as bf16 and fp16; choose one with variant"):
        load_text_encoder(folder, config=CONFIG)


class Planted:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.place,)


@pytest.mark.parametrize("names", [["pytorch_model.bin"], ["pytorch_model-00001-of-00002.bin"] * 2])
def test_weights_of_torch_save_are_read_and_nothing_else_of_them(folder: Path, names: list[str]) -> None:
    expected = load_text_encoder(folder, dtype=torch.float32, config=CONFIG).encode(["word7"])[0].embeds
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    halves = [dict(list(tensors.items())[index :: len(names)]) for index in range(len(names))]
    names = [name.replace("00001-of", f"{index + 1:05d}-of") for index, name in enumerate(names)]
    for name, half in zip(names, halves, strict=True):
        torch.save(half, folder / name)
    if len(names) > 1:
        where = {key: name for name, half in zip(names, halves, strict=True) for key in half}
        index = {"metadata": {"total_size": 1}, "weight_map": where}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert torch.equal(
        load_text_encoder(folder, dtype=torch.float32, config=CONFIG).encode(["word7"])[0].embeds, expected
    )
    whole = (folder / names[-1]).read_bytes()
    (folder / names[-1]).write_bytes(whole[:-30])
    with pytest.raises(CheckpointError, match=rf"{names[-1]} is cut short"):
        load_text_encoder(folder, config=CONFIG)
    torch.save({**halves[-1], "args": Planted(folder / "ran")}, folder / names[-1])
    again = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    assert torch.equal(again.encode(["word7"])[0].embeds, expected)
    assert not (folder / "ran").exists()


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")
    with pytest.raises(CheckpointError, match=r"no weights: there is no model\.safetensors or pytorch_model\.bin"):
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


@pytest.mark.parametrize(("change", "sentence"), [
    ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, r"quantized \(bitsandbytes, 4 b"),
    ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, r"quantized \(bitsandbytes, 8 b"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, r"quantized \(gptq, 4 bits\)"),
    ({"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}, r"quantized \(fp8\)"),
    ({"text_config": {"quantization_config": {"quant_method": "awq", "bits": 4}}}, r"quantized \(awq, 4 bits\)"),
    ({"is_encoder_decoder": True, "model_type": "t5"}, "holds a t5 model, not a decoder-only"),
    ({"architectures": ["BertForMaskedLM"], "model_type": "bert"}, "holds a bert model, not a decoder-only"),
    ({"model_type": "nothing-known"}, "could not be read as a text encoder"),
])  # fmt: skip
def test_what_the_config_says_against_it_is_told(folder: Path, change: dict[str, object], sentence: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    (folder / "model.safetensors").write_bytes(b"not looked at" if "quantized" in sentence else b"")
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_text_encoder(folder, config=CONFIG)
    assert "\n" not in str(caught.value)


def test_the_language_model_of_one_with_a_vision_part(folder: Path) -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    language = {
        "vocab_size": 1100, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    config = Gemma3Config(
        text_config=language, vision_config={**vision, "image_size": 28, "patch_size": 14}, mm_tokens_per_image=4,
        image_token_index=5, boi_token_index=6, eoi_token_index=7,
    )  # fmt: skip
    (folder / "model.safetensors").unlink()
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    encoder = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    assert type(encoder.model) is Decoder
    kept = encoder.encode(["word7 word8"])[0].embeds
    padded = encode_padded(encoder, ["word7 word8"]).embeds[:, : kept.shape[1]]
    torch.testing.assert_close(kept, padded, atol=1e-5, rtol=1e-5)
    shallow = TextEncoderConfig(instruction="word5 ", max_tokens=8, num_layers=1)
    assert len(load_text_encoder(folder, dtype=torch.float32, config=shallow).model.layers) == 1


def test_another_form_is_read_and_run_by_transformers(folder: Path) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Model

    sizes = {"vocab_size": 1100, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    (folder / "model.safetensors").unlink()
    Qwen2ForCausalLM(Qwen2Config(**sizes, num_attention_heads=2, num_key_value_heads=1)).save_pretrained(folder)
    bar = transformers_logging.is_progress_bar_enabled()
    encoder = load_text_encoder(folder, dtype=torch.float32, config=replace(CONFIG, num_layers=2))
    assert transformers_logging.is_progress_bar_enabled() == bar
    assert isinstance(encoder.model, Qwen2Model)
    assert len(encoder.model.layers) == 2
    kept = encoder.encode(["word7 word8"])[0].embeds
    padded = encode_padded(encoder, ["word7 word8"]).embeds[:, : kept.shape[1]]
    torch.testing.assert_close(kept, padded, atol=1e-5, rtol=1e-5)
    weights = load_file(folder / "model.safetensors")
    torch.save({**weights, "args": Planted(folder / "ran")}, folder / "pytorch_model.bin")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 of its weights.*layers\.1\.mlp\.up_proj\.weight"):
        load_text_encoder(folder, config=CONFIG)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"weights in .* are damaged or cut short"):
        load_text_encoder(folder, config=CONFIG)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"its \.bin files hold more than tensors, which may run code; save "):
        load_text_encoder(folder, config=CONFIG)
    assert not (folder / "ran").exists()


def change_tokenizer(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(content | changes))


def test_a_lost_start_token_is_put_back(folder: Path) -> None:
    before = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    change_tokenizer(folder, post_processor=None)
    after = load_text_encoder(folder, dtype=torch.float32, config=CONFIG)
    for prompt in ("", "word7", "word7 word8"):
        assert torch.equal(after.encode([prompt])[0].embeds, before.encode([prompt])[0].embeds)
        assert torch.equal(after.encode_null(prompt).embeds, before.encode_null(prompt).embeds)
        assert after.count_tokens(prompt) == before.count_tokens(prompt)


def test_a_tokenizer_without_a_start_token_is_refused(folder: Path) -> None:
    change_tokenizer(folder, post_processor=None)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["bos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "model.safetensors").write_bytes(b"not looked at")
    with pytest.raises(CheckpointError, match=r"does not begin every text with one start token .* no bos_token"):
        load_text_encoder(folder, config=CONFIG)


def test_a_sentencepiece_file_alone_needs_its_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"is a tokenizer.model alone; .*pip install sentencepiece"):
        load_text_encoder(folder, config=CONFIG)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_mark_that_transformers_does_not_read_is_told(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    with pytest.raises(CheckpointError, match=rf"{name} begins with a byte order mark"):
        load_text_encoder(folder, config=CONFIG)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_link_to_nothing_is_told(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("../../blobs/gone")
    with pytest.raises(CheckpointError, match=rf"{name} is a link to ../../blobs/gone, which is not there"):
        load_text_encoder(folder, config=CONFIG)


@pytest.mark.parametrize("choice", ["flash_attention_2", "eager"])
def test_the_attention_that_a_config_chooses_is_not_obeyed(folder: Path, choice: str) -> None:
    expected = load_text_encoder(folder, dtype=torch.float32, config=CONFIG).encode(["word7 word8"])[0].embeds
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_attn_implementation": choice}))
    found = load_text_encoder(folder, dtype=torch.float32, config=CONFIG).encode(["word7 word8"])[0].embeds
    assert torch.equal(found, expected)


def test_a_token_that_the_model_does_not_know(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["model"]["vocab"]["word7"] = 50_000
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    encoder = load_text_encoder(folder, dtype=torch.float32, config=replace(CONFIG, instruction=""))
    with pytest.raises(ConfigError, match="the tokenizer gives token 50000 and the model knows 1100"):
        encoder.encode(["word7"])
