"""An autoencoder before its training and after it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sanakit.checkpoints.bundle import find_autoencoder
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import CheckpointError
from sanakit.common.files import written_aside
from sanakit.layers.norms import PixelRMSNorm
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig


def new_autoencoder(config: DCAutoencoderConfig, seed: int) -> DCAutoencoder:
    """A network with weights drawn from ``seed``."""
    torch.manual_seed(seed)
    model = DCAutoencoder(config)
    quiet_residuals_(model)
    return model


def quiet_residuals_(model: DCAutoencoder, weight: float = 0.1) -> None:
    """Start every residual branch small, so that the first steps train the space-to-channel shortcuts."""
    for name, module in model.named_modules():
        if isinstance(module, PixelRMSNorm) and not name.endswith("norm_out"):
            nn.init.constant_(module.weight, weight)


@torch.no_grad()
def measure_scale_(model: DCAutoencoder, batches: Iterable[Tensor]) -> None:
    """Set ``scaling_factor = 1 / rms`` of the latents of pictures ``(B, 3, H, W)``."""
    squares = count = 0.0
    for pixels in batches:
        latent = model.encoder(pixels).double()
        squares, count = squares + float(latent.square().sum()), count + latent.numel()
    model.config = replace(model.config, scaling_factor=(count / squares) ** 0.5)
    model.encoder.config = model.decoder.config = model.config


def save_autoencoder(model: DCAutoencoder, path: Path) -> None:
    """Weights and config in one file that loads without unpickling code."""
    with written_aside(path) as building:
        torch.save({"config": json.dumps(to_mapping(model.config)), "model": model.state_dict()}, building)


def load_autoencoder(path: Path) -> DCAutoencoder:
    """What ``save_autoencoder`` wrote, on the CPU wherever it was trained.

    Raises:
        CheckpointError: the file is missing, damaged or something else.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        config = from_mapping(DCAutoencoderConfig, json.loads(state["config"]))
        model = DCAutoencoder(config)
        model.load_state_dict(state["model"])
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {path}; train it first, or name another autoencoder") from error
    except Exception as error:  # zip, unpickling, JSON, missing keys: whatever it is, it is not such a file
        reason = str(error).split("\n", 1)[0]
        raise CheckpointError(f"{path} is not an autoencoder.pt as a run writes it ({reason})") from error
    return model


def load_any_autoencoder(source: str, *, device: str = "cpu") -> DCAutoencoder:
    """A run's ``autoencoder.pt``, or the autoencoder of a model folder, file, hub id or the starter, in float32."""
    if Path(source).suffix == ".pt":
        return load_autoencoder(Path(source)).to(device)
    return load_network(find_autoencoder(source), dtype=torch.float32, device=device)
