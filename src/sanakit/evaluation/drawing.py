"""A generator as measurements see it: a function from prompts and seeds to pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from sanakit.common.pixels import Picture
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GenerationResult

Draw = Callable[[Sequence[str], Sequence[int]], Sequence[Picture]]
"""Prompts, and as many seeds, to one picture each."""


class Pipeline(Protocol):
    """What draws: `sanakit.pipelines.text_to_image.TextToImagePipeline`, as far as it is needed."""

    def __call__(self, request: Sequence[GenerationRequest], /) -> GenerationResult: ...


def drawing_with(pipeline: Pipeline, **settings: Any) -> Draw:
    """With these settings of `GenerationRequest`, the model's own for all others."""

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        requests = [
            GenerationRequest(prompt=prompt, seed=seed, **settings) for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        return [np.asarray(picture.picture) for picture in pipeline(requests).images]

    return draw
