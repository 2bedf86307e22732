"""The whole walk of a prompt against diffusers' ``SanaPipeline`` with the same random weights and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, SanaPAGPipeline, SanaPipeline
from torch import Tensor
from transformers import LlamaModel, PreTrainedTokenizerFast
from weights import Parts, pipeline_and_parts, relative_error

from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.common.seeds import draw_noise
from sanakit.models.text.text_encoder import DIFFUSERS_TEXT, TextEncoder
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.pipelines.text_to_image import TextToImagePipeline

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def ours_and_parts(
    tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> tuple[TextToImagePipeline, Parts]:
    """A 512 px model: 16x16 latents, bins as the published ones, 300 text positions."""
    config = LinearDiTConfig(
        hidden_size=64, num_layers=2, head_dim=16, cross_head_dim=16, in_channels=4, out_channels=4,
        caption_channels=32, sample_size=16,
    )  # fmt: skip
    card = ModelCard(
        name="tiny",
        family="sana",
        defaults=ImageDefaults(base_size=512, pag_layers=(1,)),
        precision=PrecisionPolicy({"transformer": ("float32",)}),
        text=DIFFUSERS_TEXT,
    )
    text_encoder = TextEncoder(tiny_language_model, tiny_tokenizer, replace(DIFFUSERS_TEXT))
    return pipeline_and_parts(config, card, text_encoder)


@pytest.fixture
def peer(
    ours_and_parts: tuple[TextToImagePipeline, Parts],
    tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast,
) -> Callable[..., SanaPipeline]:  # fmt: skip
    transformer, autoencoder = ours_and_parts[1]

    def build(kind: type = SanaPipeline, *, euler: bool = False, **options: object) -> SanaPipeline:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0) if euler else DPMSolverMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
        )  # fmt: skip
        pipeline = kind(
            tokenizer=tiny_tokenizer, text_encoder=tiny_language_model, vae=autoencoder, transformer=transformer,
            scheduler=scheduler, **options,
        )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return build


def noise(height: int, width: int) -> Tensor:
    return draw_noise((1, 4, height // 32, width // 32), seed=11)


@pytest.mark.parametrize(
    ("height", "width", "bin_height", "bin_width", "euler"),
    [(512, 512, 512, 512, False), (320, 500, 384, 640, False), (512, 512, 512, 512, True)],
)
def test_twenty_steps_with_guidance(
    ours_and_parts, peer, note, height: int, width: int, bin_height: int, bin_width: int, euler: bool
) -> None:
    start = noise(bin_height, bin_width)
    common = {"num_inference_steps": 20, "guidance_scale": 4.5, "height": height, "width": width}
    expected = peer(euler=euler)(
        "A red apple", negative_prompt="blurry", latents=start.clone(), output_type="pt", **common
    ).images[0]
    ours = ours_and_parts[0](
        "A red apple", negative_prompt="blurry", latents=start, output="tensor",
        solver="flow-euler" if euler else None, **common,
    ).images[0]  # fmt: skip
    assert ours.pixels is not None
    assert ours.pixels.shape == (3, height, width)
    note(relative_error((ours.pixels / 2 + 0.5).clamp(0, 1), expected), TOLERANCE)


class ScaleOfStep(float):
    """A guidance scale that counts as ``now`` where velocities are multiplied by it."""

    now = 1.0

    def __mul__(self, other: Any) -> Any:
        return self.now * other


def test_guidance_within_an_interval(ours_and_parts, peer, note) -> None:
    """diffusers has no interval, so that its scale is changed between the steps."""
    start, low, high = noise(512, 512), 0.35, 0.85
    common = {"num_inference_steps": 10, "height": 512, "width": 512}
    scale, guided = ScaleOfStep(4.5), []

    def before_the_next(pipeline: SanaPipeline, index: int, _: object, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        scale.now = 4.5 if low <= pipeline.scheduler.sigmas[index + 1] <= high else 1.0
        guided.append(scale.now > 1)
        return kept

    expected = peer()(
        "A red apple", latents=start.clone(), output_type="latent", guidance_scale=scale,
        callback_on_step_end=before_the_next, **common,
    ).images  # fmt: skip
    assert 2 < sum(guided) < 8
    found, always = (
        ours_and_parts[0](
            "A red apple", latents=start, output="latent", guidance_scale=4.5, guidance_interval=interval, **common
        ).images[0].latent
        for interval in ((low, high), (0.0, 1.0))
    )  # fmt: skip
    assert relative_error(always, expected) > 10 * TOLERANCE
    note(relative_error(found, expected), TOLERANCE)


def test_without_guidance_the_latents_agree(ours_and_parts, peer, note) -> None:
    start = noise(512, 512)
    common = {"num_inference_steps": 14, "guidance_scale": 1.0, "height": 512, "width": 512}
    expected = peer()("A red apple", latents=start.clone(), output_type="latent", **common).images
    ours = ours_and_parts[0]("A red apple", latents=start, output="latent", **common).images[0]
    note(relative_error(ours.latent, expected), TOLERANCE)


def test_perturbed_attention_guidance(ours_and_parts, peer, note) -> None:
    start = noise(512, 512)
    common = {"num_inference_steps": 8, "guidance_scale": 4.5, "pag_scale": 2.0, "height": 512, "width": 512}
    pipeline = peer(SanaPAGPipeline, pag_applied_layers="transformer_blocks.1")
    expected = pipeline("A red apple", latents=start.clone(), output_type="latent", **common).images
    ours = ours_and_parts[0]("A red apple", latents=start, output="latent", **common).images[0]
    note(relative_error(ours.latent, expected), TOLERANCE)
