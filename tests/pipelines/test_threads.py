"""Bits do not depend on company, with one thread as with two; most other tests run with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture(params=[1, 2])
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_an_image_alone_equals_it_in_company(tiny_bundle: ModelBundle, tmp_path: Path, num_threads: int) -> None:
    pipeline = TextToImagePipeline(tiny_bundle, rescue_folder=tmp_path)
    requests = [
        GenerationRequest(prompt="a cat", seed=5, num_images=2, num_inference_steps=3),
        GenerationRequest(prompt="two red apples on a blue table", seed=6, height=96, width=160, num_inference_steps=3),
    ]
    together = pipeline(requests).images
    alone = [image for request in requests for image in pipeline(request).images]
    assert torch.get_num_threads() == num_threads
    for left, right in zip(together, alone, strict=True):
        assert torch.equal(left.latent, right.latent)
        assert left.image.tobytes() == right.image.tobytes()
