"""What an autoencoder keeps of the starter's scenes: likeness, and whether objects can still be named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sanakit.common.pixels import Picture, from_signed, to_signed
from sanakit.evaluation.metrics.bootstrap import Estimate, estimate
from sanakit.evaluation.metrics.image_metrics import psnr, ssim
from sanakit.worlds.reading.scene_detector import SceneDetector, load_scene_detector
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank

MOST_PSNR = 100.0  # dB, for pictures that are equal: one infinity would swallow the mean


class Autoencoder(Protocol):
    """What is measured: pixels ``(B, 3, H, W)`` in [-1, 1] to a latent and back."""

    def encode(self, pixels: Tensor) -> Tensor: ...

    def decode(self, latent: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconstructionReport:
    """Means over held-out scenes. ``named`` is the share of scenes whose objects are all still named by the detector,
    ``right`` that of scenes with colours, number, places and background right as well; the ``original_...`` are the
    same of the pictures before the autoencoder, and so the ceiling.
    """

    seed: int
    psnr: Estimate  # dB; equal pictures count as 100
    ssim: Estimate
    named: Estimate
    right: Estimate
    original_named: Estimate
    original_right: Estimate

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reconstruction_report(
    autoencoder: Autoencoder, num: int, seed: int, *, size: int = 128, batch_size: int = 8, device: str = "cpu"
) -> ReconstructionReport:
    """Send ``num`` held-out scenes of ``size`` pixels through the autoencoder, in float32."""
    scenes = StarterScenes(load_sprite_bank(), "heldout", seed, size=size)
    samples = [scenes.sample(index) for index in range(num)]
    originals = [sample.image for sample in samples]
    copies: list[Picture] = []
    for start in range(0, num, batch_size):
        copies += rebuilt(autoencoder, originals[start : start + batch_size], device)
    pairs = list(zip(copies, originals, strict=True))
    truths, detector = [sample.scene for sample in samples], load_scene_detector()
    named, right = _recognised(copies, truths, detector, seed)
    original_named, original_right = _recognised(originals, truths, detector, seed)
    return ReconstructionReport(
        seed=seed,
        psnr=estimate([min(psnr(picture, original), MOST_PSNR) for picture, original in pairs], seed=seed),
        ssim=estimate([ssim(picture, original) for picture, original in pairs], seed=seed),
        named=named,
        right=right,
        original_named=original_named,
        original_right=original_right,
    )


@torch.no_grad()
def rebuilt(autoencoder: Autoencoder, pictures: Sequence[Picture], device: str | torch.device) -> list[Picture]:
    """Pictures of one size through the autoencoder, in float32."""
    return from_signed(autoencoder.decode(autoencoder.encode(to_signed(pictures).to(device))))


def _recognised(
    pictures: list[Picture], truths: list[Scene], detector: SceneDetector, seed: int
) -> tuple[Estimate, Estimate]:
    answers = [judge(truth, detector.detect(picture)) for picture, truth in zip(pictures, truths, strict=True)]
    named = estimate([answer["object"] for answer in answers], seed=seed)
    return named, estimate([answer["all right"] for answer in answers], seed=seed)
