"""The tiny networks as pipelines."""

from __future__ import annotations

import pytest

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture
def pipeline(tiny_bundle: ModelBundle) -> TextToImagePipeline:
    return TextToImagePipeline(tiny_bundle)


@pytest.fixture
def sprint(sprint_bundle: ModelBundle) -> TextToImagePipeline:
    return TextToImagePipeline(sprint_bundle)
