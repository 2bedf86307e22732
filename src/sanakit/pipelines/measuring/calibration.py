"""What the transformer's layers see as pictures of given prompts are made, for schemes that are calibrated."""

from __future__ import annotations

from collections.abc import Sequence

from sanakit.pipelines.events import OnEvent
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.calibration import LayerInputs, recorded


def calibrate(
    pipeline: TextToImagePipeline, requests: Sequence[GenerationRequest], *, on_event: OnEvent | None = None
) -> dict[str, LayerInputs]:
    """Denoise every picture, decode none; by the name of each linear layer what it was given."""
    with recorded(pipeline.bundle.transformer) as seen:
        pipeline(requests, on_event=on_event, output="latent")
    return seen
