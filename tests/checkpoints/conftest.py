"""A whole model small enough for tests: two tiny networks, a tiny language model and a tokenizer of 1200 tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import OWN_LINE
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

VOCABULARY = 1200
TRANSFORMER = LinearDiTConfig(
    hidden_size=64, num_layers=2, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=32, sample_size=8,
    interpolation_scale=1.0, qk_norm=True,
)  # fmt: skip
AUTOENCODER = DCAutoencoderConfig(
    encoder=stages((16, 16, 32, 32), (0, 1, 1, 1)), decoder=stages((16, 16, 32, 32), (0, 1, 1, 1)), latent_channels=4,
    down="pixel_unshuffle", up="pixel_shuffle", scaling_factor=0.5,
)  # fmt: skip
TEXT = TextEncoderConfig(instruction="w3 w4 ", max_tokens=16)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<bos>": 1, "<unk>": 2} | {f"w{i}": i for i in range(3, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", unk_token="<unk>", padding_side="right"
    )


def tiny_text_encoder(config: TextEncoderConfig = TEXT) -> TextEncoder:
    torch.manual_seed(3)
    llama = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512,
    )  # fmt: skip
    return TextEncoder(LlamaModel(llama), tiny_tokenizer(), config)


def tiny_bundle() -> ModelBundle:
    torch.manual_seed(1)
    defaults = ImageDefaults(base_size=64)
    card = ModelCard(name="tiny", family="sana", defaults=defaults, precision=OWN_LINE, text=TEXT, licence="Apache-2.0")
    return ModelBundle(
        transformer=LinearDiT(TRANSFORMER),
        autoencoder=DCAutoencoder(AUTOENCODER),
        text_encoder=tiny_text_encoder(),
        card=card,
    )


@pytest.fixture(scope="session")
def bundle() -> ModelBundle:
    return tiny_bundle()


@pytest.fixture(scope="session")
def folder(bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a diffusers folder; tests read it and change copies only."""
    path = tmp_path_factory.mktemp("model") / "tiny"
    save_bundle(bundle, path)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed hashes go to a folder of the test run, not to the user's."""
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
