"""Pictures of few steps against diffusers' ``SanaSprintPipeline`` with the same random weights and noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import SanaSprintImg2ImgPipeline, SanaSprintPipeline, SCMScheduler
from PIL import Image
from torch import Tensor
from transformers import LlamaModel, PreTrainedTokenizerFast
from weights import Parts, pipeline_and_parts, relative_error

from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.common.seeds import draw_noise, draw_step_noise
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import DIFFUSERS_TEXT, TextEncoder
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.sampling.scm import scm_angles
from sanakit.sampling.trigflow import trigflow

SHAPE, SEED = (4, 8, 8), 11
COMMON = {"height": 256, "width": 256, "guidance_scale": 4.5, "use_resolution_binning": False}


class OurAngles(SCMScheduler):
    """Of four steps; diffusers 0.42 cannot be given angles, since its pipeline leaves their number out."""

    def set_timesteps(self, num_inference_steps: int, **options: Any) -> None:
        if num_inference_steps == 4:
            options |= {"timesteps": [*scm_angles(4), 0.0], "max_timesteps": None, "intermediate_timesteps": None}
        super().set_timesteps(num_inference_steps, **options)


@pytest.fixture(scope="module")
def ours_and_parts(
    tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> tuple[TextToImagePipeline, Parts]:
    config = LinearDiTConfig(
        hidden_size=64, num_layers=2, head_dim=16, cross_head_dim=16, in_channels=4, out_channels=4,
        caption_channels=32, sample_size=8, qk_norm=True, guidance_embeds=True, timestep_scale=0.001,
    )  # fmt: skip
    card = ModelCard(
        name="tiny sprint",
        family="sana-sprint",
        defaults=ImageDefaults(base_size=256).of_few_steps(),
        precision=PrecisionPolicy({"transformer": ("float32",)}),
        text=DIFFUSERS_TEXT,
        distilled=True,
    )
    text_encoder = TextEncoder(tiny_language_model, tiny_tokenizer, replace(DIFFUSERS_TEXT))
    return pipeline_and_parts(config, card, text_encoder)


@pytest.fixture
def peer(
    ours_and_parts: tuple[TextToImagePipeline, Parts],
    tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Tensor]:  # fmt: skip
    transformer, autoencoder = ours_and_parts[1]
    assert transformer.config.timestep_scale == 1.0

    def draw(kind: type, *, first_step: int = 0, **options: Any) -> Tensor:
        """The noise of its steps is that of our seed and step."""
        steps = iter(range(first_step, 1000))
        monkeypatch.setattr(
            "diffusers.schedulers.scheduling_scm.randn_tensor",
            lambda *_, **__: draw_step_noise(SHAPE, SEED, next(steps))[None],
        )
        pipeline = kind(
            tokenizer=tiny_tokenizer, text_encoder=tiny_language_model, vae=autoencoder, transformer=transformer,
            scheduler=OurAngles(),
        )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        monkeypatch.setattr(
            "diffusers.pipelines.sana.pipeline_sana_sprint_img2img.randn_tensor",
            lambda *_, **__: draw_noise(SHAPE, SEED)[None],
        )
        pictures: Tensor = pipeline("A red apple", output_type="pt", **COMMON, **options).images
        return pictures[0]

    return draw


def psnr(found: Tensor, expected: Tensor) -> float:
    return -10 * math.log10(float((found - expected).square().mean()))


def ours(pipeline: TextToImagePipeline, **options: Any) -> Tensor:
    made = pipeline("A red apple", seed=SEED, output="tensor", **COMMON, **options).images[0]
    assert made.pixels is not None
    return (made.pixels / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize(
    ("steps", "theirs"),
    [
        (2, {}),
        (1, {"num_inference_steps": 1, "intermediate_timesteps": None}),
        (5, {"num_inference_steps": 5, "intermediate_timesteps": None}),
        (4, {"num_inference_steps": 4, "intermediate_timesteps": None}),
    ],
)
def test_pictures(ours_and_parts, peer, note, steps: int, theirs: dict[str, Any]) -> None:
    expected = peer(SanaSprintPipeline, latents=0 + draw_noise(SHAPE, SEED)[None], **theirs)
    found = ours(ours_and_parts[0], num_inference_steps=steps)
    assert expected.std() > 0.05
    note(-psnr(found, expected), -60, "minus PSNR")


@pytest.mark.parametrize(
    ("strength", "first_step", "options"),
    [
        (0.5, 1, {"num_inference_steps": 2}),
        (0.6, 0, {"num_inference_steps": 2}),  # where all is noise
        (0.6, 1, {"num_inference_steps": 4, "intermediate_timesteps": None}),
        (0.4, 3, {"num_inference_steps": 5, "intermediate_timesteps": None}),
    ],
)
def test_pictures_from_a_picture(
    ours_and_parts, peer, note, strength: float, first_step: int, options: dict[str, Any]
) -> None:
    levels = torch.randint(0, 256, (256, 256, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    source = Image.fromarray(levels.numpy()).resize((32, 32)).resize((256, 256))
    expected = peer(SanaSprintImg2ImgPipeline, first_step=first_step, image=source, strength=strength, **options)
    steps = options["num_inference_steps"]
    found = ours(ours_and_parts[0], num_inference_steps=steps, image=source, strength=strength)
    assert expected.std() > 0.05
    note(-psnr(found, expected), -60, "minus PSNR")


def test_the_network_in_the_view_of_angles(ours_and_parts, note) -> None:
    """One call at every published angle, against the formulas of the peer's pipeline around the peer's network."""
    pipeline, (transformer, _) = ours_and_parts
    angles = torch.tensor([1.57080, 1.3, 1.1, 0.6])
    u = torch.stack([draw_noise(SHAPE, seed) for seed in range(4)])
    embeds = torch.randn(4, 6, 32, generator=torch.Generator().manual_seed(3))
    sigma = angles.sin() / (angles.cos() + angles.sin())
    wide = sigma[:, None, None, None]
    scale = (wide**2 + (1 - wide) ** 2).sqrt()
    with torch.no_grad():
        v = transformer(
            u * scale, encoder_hidden_states=embeds, timestep=sigma, guidance=torch.full((4,), 0.45), return_dict=False
        )[0]  # fmt: skip
        expected = ((1 - 2 * wide) * scale * u + (1 - 2 * wide + 2 * wide**2) * v) / scale
        network = pipeline.bundle.transformer
        condition = network.prepare(TextCondition(embeds, torch.ones(4, 6, dtype=torch.bool))).with_guidance(4.5)
        found = trigflow(lambda latent, sigma: network(latent, 1000 * sigma, condition))(u, angles)
    note(relative_error(found, expected), 1e-4)
