"""What an accelerator does otherwise: rows of several pictures share a call."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.pipelines.events import StepDone
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


def test_a_compiled_step_makes_the_same_pictures_but_for_rounding(there: ModelBundle) -> None:
    """Two prompts of one size, of which the second is played back from the graph of the first."""
    plain, compiled = TextToImagePipeline(there), TextToImagePipeline(there, compile=True)
    for request in (REQUESTS[0], REQUESTS[1], REQUESTS[3]):
        torch.testing.assert_close(latents(compiled, [request]), latents(plain, [request]), rtol=1e-2, atol=1e-2)
    assert compiled._arithmetic()["denoising step"] == "compiled"


def test_pictures_decoded_beside_others_are_the_same_to_the_bit(
    there: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = TextToImagePipeline(there, max_batch=1)
    beside = pipeline(REQUESTS, output="tensor").images
    monkeypatch.setattr(pipeline, "_has_room_beside", lambda plans: False)
    alone = pipeline(REQUESTS, output="tensor").images
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(beside, alone, strict=True))


def test_the_loop_starts_its_steps_without_waiting(there: ModelBundle) -> None:
    """CUDA itself tells of every wait."""
    pipeline = TextToImagePipeline(there)
    pipeline(REQUESTS[1], output="latent")  # kernels are compiled and libraries begun

    def listen(event: object) -> None:
        if isinstance(event, StepDone) and event.index == 0:
            torch.cuda.set_sync_debug_mode("error")
        if isinstance(event, StepDone) and event.index == event.total - 1:
            torch.cuda.set_sync_debug_mode("default")

    try:
        pipeline(REQUESTS[1], output="latent", on_event=listen)
    finally:
        torch.cuda.set_sync_debug_mode("default")
