"""Frames that a clip begins with: their latent; and the first one, which stays as it is on the way from noise."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.sampling.evaluation import Evaluation


@torch.no_grad()
def encode_frames(autoencoder: ClipAutoencoder, pixels: Tensor) -> Tensor:
    """Frames ``(T, 3, H, W)`` in [-1, 1] to the latent ``(1, C, t, h, w)`` float32 of their clip; one of a picture."""
    clip = pixels.transpose(0, 1)[None].to(autoencoder.device, autoencoder.compute_dtype)  # (1, 3, T, H, W)
    return autoencoder.encode(clip).float()


def without_first_frame(wish: Evaluation, velocity: Tensor) -> Tensor:
    """The velocity ``(1, C, T, h, w)`` with none in the first frame: a step of Euler's leaves that as it is, to the
    bit."""
    return torch.cat([torch.zeros_like(velocity[:, :, :1]), velocity[:, :, 1:]], dim=2)
