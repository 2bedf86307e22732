"""The first frame of a clip: a picture that is given, and that stays as it is on the way from noise."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.sampling.evaluation import Evaluation


@torch.no_grad()
def encode_first_frame(autoencoder: ClipAutoencoder, pixels: Tensor) -> Tensor:
    """Pixels ``(1, 3, H, W)`` in [-1, 1] to the latent ``(1, C, 1, h, w)`` float32 of a clip of one frame."""
    clip = pixels[:, :, None].to(autoencoder.device, autoencoder.compute_dtype)
    return autoencoder.encode(clip).float()


def without_first_frame(wish: Evaluation, velocity: Tensor) -> Tensor:
    """The velocity ``(1, C, T, h, w)`` with none in the first frame: a step of Euler's leaves that as it is, to the
    bit."""
    return torch.cat([torch.zeros_like(velocity[:, :, :1]), velocity[:, :, 1:]], dim=2)
