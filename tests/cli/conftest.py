"""The command line as a function, and a tiny model folder for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.cli.app import main
from sanakit.models.text.text_encoder import TextEncoder


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """``run("generate", "a cat", output)`` in this process."""

    def call(*words: object) -> Outcome:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session")
def tiny_model(tiny_bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``sanakit generate --model`` takes it."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_bundle(replace(tiny_bundle, text_encoder=tiny_text_encoder(tiny_bundle)), folder)
    return folder


def tiny_text_encoder(bundle: ModelBundle) -> TextEncoder:
    """As the bundle's, one token a byte, but with idle tokens up to the least vocabulary that a folder is read with."""
    tokens = ["<pad>", "<bos>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"<idle{i}>" for i in range(800))]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    torch.manual_seed(1)
    old = bundle.text_encoder.model.config
    model = LlamaModel(LlamaConfig(**{**old.to_dict(), "vocab_size": len(tokens)})).eval()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<pad>")
    return TextEncoder(model, fast, bundle.text_encoder.config)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
