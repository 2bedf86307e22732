"""What an accelerator does otherwise: rows of several pictures share a call."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GeneratedImage
from sanakit.pipelines.text_to_image import TextToImagePipeline

DEVICE = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]
REQUESTS = [
    GenerationRequest(prompt="a cat", seed=5, num_images=3),
    GenerationRequest(prompt="two red apples on a blue table", seed=6, num_inference_steps=3),
    GenerationRequest(prompt="犬", seed=6, guidance_scale=1.0, solver="flow-euler"),
    GenerationRequest(prompt="a cat", negative_prompt="blurry", pag_scale=2.0),
]


@pytest.fixture
def there(tiny_bundle: ModelBundle) -> ModelBundle:
    """The tiny model on the accelerator."""
    parts = ("transformer", "autoencoder", "text_encoder")
    return replace(tiny_bundle, **{name: copy.deepcopy(getattr(tiny_bundle, name)).to(DEVICE) for name in parts})


def latents(pipeline: TextToImagePipeline, requests: list[GenerationRequest]) -> torch.Tensor:
    made: list[GeneratedImage] = pipeline(requests, output="latent").images
    return torch.cat([image.latent for image in made])


def test_company_changes_a_picture_by_rounding_only(there: ModelBundle) -> None:
    pipeline = TextToImagePipeline(there)
    together = latents(pipeline, REQUESTS)
    alone = torch.cat([latents(pipeline, [request]) for request in REQUESTS])
    torch.testing.assert_close(together, alone, rtol=1e-2, atol=1e-2)  # TF32 products, through twenty steps


def test_deterministic_pictures_are_the_same_to_the_bit_in_any_company(there: ModelBundle) -> None:
    pipeline = TextToImagePipeline(there, deterministic=True)
    together = latents(pipeline, REQUESTS)
    alone = torch.cat([latents(pipeline, [request]) for request in REQUESTS])
    assert torch.equal(together, alone)


def test_a_picture_is_that_of_the_cpu(there: ModelBundle, tiny_bundle: ModelBundle) -> None:
    """The noise is drawn on the CPU, so the seed means the same picture."""
    here, made = (
        TextToImagePipeline(each)("a cat", seed=1, output="tensor").images[0] for each in (tiny_bundle, there)
    )
    torch.testing.assert_close(made.latent.cpu(), here.latent, rtol=1e-2, atol=1e-2)
    assert made.record.device == DEVICE
