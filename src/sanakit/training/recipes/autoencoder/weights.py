"""An autoencoder before its training and after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from sanakit.layers.norms import PixelRMSNorm
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig


def new_autoencoder(config: DCAutoencoderConfig, seed: int) -> DCAutoencoder:
    """A network with weights drawn from ``seed``."""
    torch.manual_seed(seed)
    model = DCAutoencoder(config)
    for name, module in model.named_modules():
        if isinstance(module, PixelRMSNorm) and not name.endswith("norm_out"):
            nn.init.constant_(module.weight, 0.1)  # small residual branches: the first steps train the shortcuts
    return model


@torch.no_grad()
def measure_scale_(model: DCAutoencoder, batches: Iterable[Tensor]) -> None:
    """Set ``scaling_factor = 1 / rms`` of the latents of pictures ``(B, 3, H, W)``."""
    squares = count = 0.0
    for pixels in batches:
        latent = model.encoder(pixels).double()
        squares, count = squares + float(latent.square().sum()), count + latent.numel()
    model.config = replace(model.config, scaling_factor=(count / squares) ** 0.5)
    model.encoder.config = model.decoder.config = model.config
