"""A tiny model of clips."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaModel, PreTrainedTokenizerFast

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ModelCard, VideoDefaults
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.models.autoencoders.wan import WanAutoencoder, WanAutoencoderConfig
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiT, VideoDiTConfig
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture(scope="session")
def clip_bundle(tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast) -> ModelBundle:
    torch.manual_seed(0)
    transformer = VideoDiT(
        VideoDiTConfig(
            hidden_size=24, num_layers=2, cross_head_dim=12, attention=TurnedLinearAttention(head_dim=12),
            caption_channels=32,
        )
    )  # fmt: skip
    autoencoder = WanAutoencoder(WanAutoencoderConfig(channels=(4, 4, 8, 8), num_blocks=1))
    card = ModelCard(
        name="tiny-clips",
        family="sana-video",
        defaults=VideoDefaults(base_size=32, num_frames=9, fps=8, num_inference_steps=2),
        precision=PrecisionPolicy({"transformer": ("float32",)}),
        text=TextEncoderConfig(instruction=""),
    )
    return ModelBundle(
        transformer=transformer.eval().requires_grad_(False),
        autoencoder=autoencoder.eval().requires_grad_(False),
        text_encoder=TextEncoder(tiny_language_model, tiny_tokenizer, card.text),
        card=card,
    )


@pytest.fixture
def clips(clip_bundle: ModelBundle) -> TextToImagePipeline:
    return TextToImagePipeline(clip_bundle)
