"""The whole walk of a prompt for a clip against diffusers' ``SanaVideoPipeline`` and ``SanaImageToVideoPipeline``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaImageToVideoPipeline,
    SanaVideoPipeline,
)
from PIL import Image
from transformers import LlamaModel, PreTrainedTokenizerFast
from weights import class_arguments, randomize_, relative_error, video_transformer_pair

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ModelCard, VideoDefaults
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.checkpoints.networks.wan import DIFFUSERS_WAN, wan_to_json
from sanakit.common.seeds import draw_noise
from sanakit.models.autoencoders.wan import WanAutoencoder, WanAutoencoderConfig
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiTConfig
from sanakit.pipelines.text_to_image import TextToImagePipeline

TOLERANCE = 1e-3
TRANSFORMER = VideoDiTConfig(
    hidden_size=48, num_layers=2, cross_head_dim=12, attention=TurnedLinearAttention(head_dim=24), caption_channels=32
)  # fmt: skip
AUTOENCODER = WanAutoencoderConfig(channels=(4, 8, 8, 8), num_blocks=1)
COMMON: dict[str, Any] = {
    "height": 32, "width": 64, "num_inference_steps": 8, "guidance_scale": 6.0, "use_resolution_binning": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def both(
    tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> tuple[TextToImagePipeline, dict[str, Any]]:
    """Our pipeline, and the parts of theirs."""
    transformer, our_transformer = video_transformer_pair(TRANSFORMER)
    autoencoder = AutoencoderKLWan(**class_arguments(wan_to_json(AUTOENCODER))).eval()
    randomize_(autoencoder, 1)
    our_autoencoder = WanAutoencoder(AUTOENCODER).eval()
    our_autoencoder.load_state_dict(DIFFUSERS_WAN.to_ours(autoencoder.state_dict()))
    card = ModelCard(
        name="tiny",
        family="sana-video",
        defaults=VideoDefaults(base_size=32, motion_score=0),
        precision=PrecisionPolicy({"transformer": ("float32",)}),
        text=TextEncoderConfig(instruction="video", lowercase=True),
    )
    bundle = ModelBundle(
        transformer=our_transformer.requires_grad_(False),
        autoencoder=our_autoencoder.requires_grad_(False),
        text_encoder=TextEncoder(tiny_language_model, tiny_tokenizer, replace(card.text)),
        card=card,
    )
    theirs = {"tokenizer": tiny_tokenizer, "text_encoder": tiny_language_model, "vae": autoencoder}
    return TextToImagePipeline(bundle), {**theirs, "transformer": transformer}


def test_a_clip_of_a_prompt(both, note: Callable[..., None]) -> None:
    ours, parts = both
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=8.0)
    peer = SanaVideoPipeline(scheduler=scheduler, **parts)
    peer.set_progress_bar_config(disable=True)
    start = draw_noise((1, 16, 3, 4, 8), seed=11)
    expected = peer(
        "A red apple motion score: 30.", negative_prompt="blurry", latents=start.clone(), output_type="pt", frames=9,
        **COMMON,
    ).frames[0]  # fmt: skip
    clip = ours(
        "A red apple", negative_prompt="blurry", latents=start, output="tensor", num_frames=9, motion_score=30, **COMMON
    ).images[0]  # fmt: skip
    assert clip.pixels.shape == (3, 9, 32, 64)
    note(relative_error((clip.pixels.transpose(0, 1) / 2 + 0.5).clamp(0, 1), expected), TOLERANCE)


def test_a_clip_that_begins_with_a_picture(both, note: Callable[..., None]) -> None:
    ours, parts = both
    peer = SanaImageToVideoPipeline(scheduler=FlowMatchEulerDiscreteScheduler(shift=8.0), **parts)
    peer.set_progress_bar_config(disable=True)
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 64, 3), dtype=np.uint8))
    # theirs takes latents as they are, without the picture, so that both begin with what a generator gives
    generator = torch.Generator().manual_seed(5)
    start = torch.randn(1, 16, 3, 4, 8, generator=torch.Generator().manual_seed(5))
    expected = peer(
        image=picture, prompt="A red apple", generator=generator, output_type="latent", frames=9, **COMMON
    ).frames  # fmt: skip
    kept: list[torch.Tensor] = []
    clip = ours(
        "A red apple", image=picture, latents=start, output="latent", num_frames=9,
        on_step=lambda index, latent: kept.append(latent[:, :, 0]), **COMMON,
    ).images[0]  # fmt: skip
    note(relative_error(clip.latent, expected), TOLERANCE)
    assert len(kept) == 8
    assert all(torch.equal(each, clip.latent[:, :, 0]) for each in kept)
