"""The reconstruction loss in closed form, with an autoencoder whose answers are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.training.objectives.reconstruction import ReconstructionConfig, reconstruction_loss


class Halving(nn.Module):
    """Latent: every second pixel plus one. Pixels: zero."""

    def encoder(self, pixels: Tensor) -> Tensor:
        return pixels[:, :, ::2, ::2] + 1

    def decoder(self, latent: Tensor) -> Tensor:
        self.seen = latent
        return torch.zeros(latent.shape[0], 3, 4, 4)


def loss_of(pixels: Tensor, config: ReconstructionConfig, perceptual: object = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return reconstruction_loss(Halving(), pixels, generator, config=config, perceptual=perceptual)


def test_the_terms() -> None:
    """A ramp from left to right: error 0, 0.1, 0.2, 0.3 in every row."""
    ramp = (torch.arange(4.0) / 10).expand(2, 3, 4, 4)
    config = ReconstructionConfig(mse_weight=3.0, gradient_weight=2.0, latent_weight=0.5)
    terms = loss_of(ramp, config)
    expected = {"l1": 0.15, "gradient": 0.1, "mse": 0.035, "latent": (1.0 + 1.2**2) / 2}
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], torch.tensor(value))
    torch.testing.assert_close(terms["loss"], torch.tensor(0.15 + 3 * 0.035 + 2 * 0.1 + 0.5 * expected["latent"]))


def test_the_perceptual_term_joins_with_its_weight() -> None:
    pixels = torch.full((1, 3, 4, 4), 0.2)
    terms = loss_of(
        pixels,
        ReconstructionConfig(mse_weight=0.0, latent_weight=0.0, perceptual_weight=3.0),
        lambda a, b: (a - b).abs().max(),
    )
    torch.testing.assert_close(terms["loss"], torch.tensor(0.2 + 3 * 0.2))


def test_latent_noise_is_relative_to_the_latent() -> None:
    model, pixels = Halving(), torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 5
    config = ReconstructionConfig(latent_noise=0.1)
    reconstruction_loss(model, pixels, torch.Generator().manual_seed(0), config=config)
    noise = model.seen - model.encoder(pixels)
    assert float(noise.std()) == pytest.approx(0.5, rel=0.1)


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="negative"):
        ReconstructionConfig(latent_weight=-1.0)


def test_a_weight_without_its_distance_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"perceptual_weight=0\.5 needs a perceptual distance"):
        loss_of(torch.zeros(1, 3, 8, 8), ReconstructionConfig(perceptual_weight=0.5))
