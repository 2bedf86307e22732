"""Autoencoders that keep everything, a little, and nothing."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sanakit.evaluation.reports.scene_reconstruction import reconstruction_report

NUM = 8


class Shrinking:
    """Keeps one pixel of ``factor`` x ``factor``."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def encode(self, pixels: Tensor) -> Tensor:
        return F.avg_pool2d(pixels, self.factor)

    def decode(self, latent: Tensor) -> Tensor:
        return F.interpolate(latent, scale_factor=self.factor, mode="bilinear")


def test_keeping_everything() -> None:
    report = reconstruction_report(Shrinking(1), NUM, 0, batch_size=3)
    assert report.psnr.mean == 100
    assert report.ssim.mean == 1.0
    assert report.named.num_samples == NUM
    assert report.named == report.original_named
    assert report.named.mean == 1.0


def test_less_is_kept_by_smaller_latents() -> None:
    slight, strong = (reconstruction_report(Shrinking(factor), NUM, 0) for factor in (2, 32))
    assert 20 < slight.psnr.mean < 50
    assert slight.named.mean >= 0.9
    assert strong.psnr.mean < slight.psnr.mean
    assert strong.ssim.mean < slight.ssim.mean
    assert strong.right.mean <= 0.5 < slight.right.mean
    assert strong.original_right == slight.original_right
