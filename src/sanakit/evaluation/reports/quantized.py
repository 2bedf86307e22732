"""How far the pictures of a model in fewer bits are from those of the plain one, same prompts and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sanakit.evaluation.metrics.image_metrics import psnr
from sanakit.evaluation.reports.reconstruction import MOST_PSNR
from sanakit.evaluation.reports.report import Measurement, mean_of
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GeneratedImage, GenerationResult

PROTOCOL = (
    "The same prompts and seeds by both models. picture: PSNR over all levels of the two pictures, rounded to 8 bits "
    "(equal ones count 100 dB); worst picture: the smallest of them; latent: energy of the plain model's latent over "
    "that of the difference. Means over pictures of dB."
)


class Pipeline(Protocol):
    """What draws: `sanakit.pipelines.text_to_image.TextToImagePipeline`, as far as it is needed."""

    def __call__(self, request: Sequence[GenerationRequest], /) -> GenerationResult: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """One picture with its latent ``(1, C, h, w)``."""

    picture: np.ndarray
    latent: Tensor

    @classmethod
    def of(cls, image: GeneratedImage) -> Drawn:
        return cls(picture=np.asarray(image.picture), latent=image.latent.float().cpu())


def draw_each(
    pipeline: Pipeline, requests: Sequence[GenerationRequest], told: Callable[[int], object] = lambda done: None
) -> list[Drawn]:
    """A picture of every request, one after the other; ``told`` how many there are."""
    drawn = []
    for request in requests:
        drawn.append(Drawn.of(pipeline([request]).images[0]))
        told(len(drawn))
    return drawn


def distances(plain: Sequence[Drawn], quantized: Sequence[Drawn], *, seed: int = 0) -> tuple[Measurement, ...]:
    """The measurements of ``PROTOCOL``, in dB."""
    pairs = list(zip(plain, quantized, strict=True))
    pictures = [min(psnr(other.picture, one.picture), MOST_PSNR) for one, other in pairs]
    latents = [signal_to_noise(one.latent, other.latent) for one, other in pairs]
    worst = mean_of("worst picture", [min(pictures)], seed=seed, unit="dB")
    return (mean_of("picture", pictures, seed=seed, unit="dB"), worst, mean_of("latent", latents, seed=seed, unit="dB"))


def signal_to_noise(expected: Tensor, found: Tensor) -> float:
    """Energy of ``expected`` over that of the difference in dB, at most 100."""
    energy, error = (float(torch.sum(each.double() ** 2)) for each in (expected, found - expected))
    return MOST_PSNR if error == 0 else min(10 * math.log10(max(energy, 1e-300) / error), MOST_PSNR)
