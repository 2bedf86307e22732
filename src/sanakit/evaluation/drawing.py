"""A generator as measurements see it: a function from prompts and seeds to pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sanakit.common.pixels import Picture
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.pipelines.result import GenerationResult

Draw = Callable[[Sequence[str], Sequence[int]], Sequence[Picture]]
"""Prompts, and as many seeds, to one picture each."""


DrawClips = Callable[[Sequence[str], Sequence[int]], Sequence[tuple[NDArray[np.uint8], float]]]
"""Prompts, and as many seeds, to a clip each: ``(T, H, W, 3)`` and frames a second."""


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


def drawing_clips_with(pipeline: Pipeline, **settings: Any) -> DrawClips:
    """The same of a model of clips, with settings of `VideoRequest`."""

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[NDArray[np.uint8], float]]:
        requests = [
            VideoRequest(prompt=prompt, seed=seed, **settings) for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        made = (clip for clip in pipeline(requests).images if isinstance(clip, GeneratedClip))
        return [(clip.pictures, clip.fps) for clip in made]

    return draw
