"""A tiny model with random weights that does everything a real one does, made in a second without any download.

transformers is imported where it is used: most rooms need none of it, and loading it takes longer than their tests.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, ImageDefaults, ModelCard, VideoDefaults
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.checkpoints.upscalers.real_esrgan import save_compact_upscaler
from sanakit.common.user_cache import user_cache_folder
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.compact_upscaler import CompactUpscaler, CompactUpscalerConfig
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

if TYPE_CHECKING:
    from transformers import LlamaModel, PreTrainedTokenizerFast

MAX_TOKENS = 40


def pytest_configure(config: pytest.Config) -> None:
    """Several processes that run tests (pytest-xdist) share the cores: one thread each, and in what they start.

    What sanakit keeps for its user goes to a folder of the run. Of the user's own cache only language models that are
    there whole are read, so that tests with the mark ``network`` need not fetch them again.
    """
    whole = [place.parent for place in user_cache_folder().glob("text-encoders/*/source.json")]
    own = Path(tempfile.mkdtemp(prefix="sanakit-tests-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    (own / "text-encoders").mkdir()
    for folder in whole:
        (own / "text-encoders" / folder.name).symlink_to(folder)
    os.environ["SANAKIT_CACHE"] = str(own)
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, after a start token."""
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<bos>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<pad>")


@pytest.fixture(scope="session")
def tiny_language_model(tiny_tokenizer: PreTrainedTokenizerFast) -> LlamaModel:
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    return LlamaModel(config).eval()


@pytest.fixture(scope="session")
def tiny_bundle(tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast) -> ModelBundle:
    """128 px pictures from an 8x8x4 latent; never change it."""
    torch.manual_seed(2)
    transformer = LinearDiT(LinearDiTConfig(
        hidden_size=64, num_layers=2, head_dim=16, cross_head_dim=16, in_channels=4, out_channels=4,
        caption_channels=32, interpolation_scale=1.0, sample_size=8,
    )).eval()  # fmt: skip
    shape = stages((8, 16, 16, 32, 32), (1, 1, 1, 1, 1))
    autoencoder = DCAutoencoder(DCAutoencoderConfig(
        encoder=shape, decoder=shape, latent_channels=4, head_dim=16, scaling_factor=0.5
    )).eval()  # fmt: skip
    for part in (transformer, autoencoder):
        part.requires_grad_(False)
    text = TextEncoderConfig(max_tokens=MAX_TOKENS, instruction="Draw: ")
    card = ModelCard(
        name="tiny",
        family="starter",
        defaults=ImageDefaults(base_size=128, num_inference_steps=3, pag_layers=(1,)),
        precision=PrecisionPolicy({"transformer": ("float32",)}),
        text=text,
        text_encoder=SMALL_TEXT_ENCODER,
        source="tiny",
    )
    text_encoder = TextEncoder(tiny_language_model, tiny_tokenizer, text)
    return ModelBundle(transformer=transformer, autoencoder=autoencoder, text_encoder=text_encoder, card=card)


@pytest.fixture(scope="session")
def tiny_model(tiny_bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``sanakit generate --model`` takes it; never change it."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_bundle(replace(tiny_bundle, text_encoder=_with_idle_tokens(tiny_bundle.text_encoder)), folder)
    return folder


@pytest.fixture(scope="session")
def clip_model(tiny_bundle: ModelBundle, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a model of clips of 32 px, 9 frames and 3 steps; never change it."""
    from sanakit.checkpoints.opening import load_bundle
    from sanakit.models.autoencoders.dc_ae_clips import TimeConfig, clips_of_pictures
    from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiT, VideoDiTConfig
    from sanakit.training.recipes.transformer.initialization import initialize_

    pictures, folder = tiny_bundle.transformer.config, tmp_path_factory.mktemp("clips") / "model"
    network = VideoDiT(
        VideoDiTConfig(
            hidden_size=pictures.hidden_size,
            num_layers=1,
            cross_head_dim=pictures.cross_head_dim,
            attention=TurnedLinearAttention(head_dim=pictures.head_dim),
            in_channels=pictures.in_channels,
            out_channels=pictures.out_channels,
            patch_size=(1, 1, 1),
            caption_channels=pictures.caption_channels,
        )
    )
    initialize_(network, torch.Generator().manual_seed(0))
    card = replace(
        tiny_bundle.card,
        family="sana-video",
        defaults=VideoDefaults(base_size=32, num_frames=9, fps=8, num_inference_steps=3, guidance_scale=1.0),
        hashes={},
    )
    bundle = ModelBundle(
        transformer=network.eval(),
        autoencoder=clips_of_pictures(tiny_bundle.autoencoder, TimeConfig(frames=2, channels=8, num_blocks=1), 0),
        text_encoder=load_bundle(str(tiny_model)).text_encoder,
        card=card,
    )
    save_bundle(bundle, folder)
    return folder


def _with_idle_tokens(encoder: TextEncoder) -> TextEncoder:
    """Another, with tokens up to the least vocabulary that a folder is read with."""
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    tokens = ["<pad>", "<bos>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"<idle{i}>" for i in range(800))]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    torch.manual_seed(1)
    model = LlamaModel(LlamaConfig(**{**encoder.model.config.to_dict(), "vocab_size": len(tokens)})).eval()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<pad>")
    return TextEncoder(model, fast, encoder.config)


@pytest.fixture(scope="session")
def sprint_bundle(tiny_bundle: ModelBundle) -> ModelBundle:
    """The same distilled for few steps, with the guidance scale as an input; never change it."""
    torch.manual_seed(4)
    config = replace(tiny_bundle.transformer.config, guidance_embeds=True, qk_norm=True, timestep_scale=0.001)
    card = replace(tiny_bundle.card, distilled=True, defaults=tiny_bundle.card.defaults.of_few_steps())
    return replace(tiny_bundle, transformer=LinearDiT(config).eval().requires_grad_(False), card=card)


@pytest.fixture(scope="session")
def tiny_upscaler_network() -> CompactUpscaler:
    """Four times larger, three convolutions deep; never change it."""
    torch.manual_seed(3)
    config = CompactUpscalerConfig(scale=4, hidden_size=8, num_layers=1)
    return CompactUpscaler(config).eval().requires_grad_(False)


@pytest.fixture
def upscaler_cache(tiny_upscaler_network: CompactUpscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which the tiny upscaler stands where the real one would be; gives its folder."""
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "upscalers" / "realesr-animevideov3-1"
    folder.mkdir(parents=True)
    state = tiny_upscaler_network.state_dict()
    save_compact_upscaler(folder, tiny_upscaler_network.config, state, name="tiny", source="a test")
    return folder
