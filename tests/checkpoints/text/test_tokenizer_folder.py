"""Tokenizers read directly give what transformers gives: ids, start tokens, cuts; others are left to transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from sanakit.checkpoints.text.tokenizer_folder import load_tokenizer
from sanakit.common.errors import CheckpointError
from sanakit.models.text.text_tokenizer import TextTokenizer

CORPUS = ["a red circle on a blue square", "two green triangles left of a yellow star", "word picture words pictures"]
PROMPTS = [
    "", " ", "a", "a red circle", "  two   spaces ", "Ünïcödé 漢字 \U0001f600", "line\n\nbreak\ttab",
    "<bos>a red<eos> star",
    "<start> words", "word " * 40,
]  # fmt: skip


def gemma_like() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return with_start(tokenizer)


def llama_like() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<unk>", "<bos>", "<eos>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    return with_start(tokenizer)


def with_start(tokenizer: Tokenizer) -> Tokenizer:
    start = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", start)])
    return tokenizer


def write(folder: Path, tokenizer: Tokenizer, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named | settings))
    return folder


GEMMA = {"tokenizer_class": "GemmaTokenizer", "pad_token": "<pad>"}
PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<eos>"}


def published(tokenizer: Tokenizer) -> dict[str, Any]:
    """Every added token once more, as the config of Gemma lists them."""
    fields = ("content", "lstrip", "rstrip", "normalized", "single_word", "special")
    decoder = tokenizer.get_added_tokens_decoder()
    return {str(i): {field: getattr(token, field) for field in fields} for i, token in decoder.items()}


@pytest.mark.parametrize(("kind", "settings"), [
    ("gemma", GEMMA), ("gemma", GEMMA | {"tokenizer_class": "GemmaTokenizerFast", "added_tokens_decoder": None}),
    ("gemma", GEMMA | {"add_bos_token": False, "extra_special_tokens": ["<start>", "r"], "truncation_side": "left"}),
    ("llama", PLAIN), ("llama", PLAIN | {"tokenizer_class": "TokenizersBackend", "image_token": "r"}),
    ("llama", PLAIN | {"truncation_side": "left", "bos_token": {"__type": "AddedToken", "content": "<bos>"}}),
])  # fmt: skip
def test_ids_are_those_of_transformers(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = gemma_like() if kind == "gemma" else llama_like()
    if "added_tokens_decoder" in settings:
        settings = settings | {"added_tokens_decoder": published(tokenizer)}
    folder = write(tmp_path / "tokenizer", tokenizer, **settings)
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    assert isinstance(ours, TextTokenizer)
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert (ours.pad_token_id, ours.bos_token_id) == (theirs.pad_token_id, theirs.bos_token_id)
    for prompt in PROMPTS:
        assert ours.encode(prompt) == theirs(prompt, verbose=False).input_ids, prompt
        for length in (1, 2, 7, 1000):
            cut = theirs(prompt, truncation=True, max_length=length).input_ids
            assert ours.encode(prompt, truncation=True, max_length=length) == cut, (prompt, length)


def test_a_stored_cut_is_not_applied(tmp_path: Path) -> None:
    tokenizer = llama_like()
    tokenizer.enable_truncation(3, direction="left")
    tokenizer.enable_padding(length=9)
    folder = write(tmp_path / "tokenizer", tokenizer, **PLAIN)
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    assert ours.encode("a red circle") == theirs("a red circle").input_ids
    cut = theirs("a red circle", truncation=True, max_length=2).input_ids
    assert ours.encode("a red circle", truncation=True, max_length=2) == cut


@pytest.mark.parametrize("settings", [
    {"tokenizer_class": "LlamaTokenizer"}, {"tokenizer_class": None}, PLAIN | {"add_prefix_space": True},
    PLAIN | {"image_token": "<not there>"}, PLAIN | {"split_special_tokens": True}, GEMMA,
    PLAIN | {"added_tokens_decoder": {"0": {"content": "<unk>", "lstrip": True, "special": True}}},
])  # fmt: skip
def test_what_transformers_would_change_is_left_to_it(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = write(tmp_path / "tokenizer", llama_like(), **settings)
    assert not isinstance(load_tokenizer(folder), TextTokenizer)


def test_a_token_of_the_vocabulary_becomes_special(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"<bos>": 0, "<unk>": 1, "cat": 2, "<eos>": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = write(tmp_path / "tokenizer", with_start(tokenizer), **PLAIN)
    assert load_tokenizer(folder).encode("cat<eos>cat") == [0, 2, 3, 2]


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    tokenizer = gemma_like()
    tokenizer.add_tokens([AddedToken("<one>", lstrip=True)])
    ours = load_tokenizer(write(tmp_path / "tokenizer", tokenizer, **GEMMA))
    ours.save_pretrained(tmp_path / "again")
    again, theirs = load_tokenizer(tmp_path / "again"), AutoTokenizer.from_pretrained(tmp_path / "again")
    for prompt in PROMPTS:
        assert again.encode(prompt) == ours.encode(prompt) == theirs(prompt).input_ids


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"added_tokens_decoder": {"0": {"content": 5}}}, "tokenizer_config.json holds a value of another kind"),
    ({"added_tokens_decoder": [1]}, "tokenizer_config.json holds a value of another kind"),
    ({"extra_special_tokens": 5}, "tokenizer_config.json holds a value of another kind"),
    ({"truncation_side": "sideways"}, "could not be read: Truncation side should be"),
])  # fmt: skip
def test_settings_of_another_kind_are_told(settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "tokenizer", llama_like(), **PLAIN, **settings)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value)
