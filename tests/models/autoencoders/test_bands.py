"""Decoding in bands: the pixels of the whole picture, whatever the height of the bands."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sanakit.models.autoencoders.bands import decode_in_bands
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, DCAutoencoderStage, stages
from sanakit.models.presets import DC_AE_PRESETS

SANA = DCAutoencoderConfig(
    encoder=stages((8, 16, 32, 32), (1, 1, 1, 1), num_res=2), decoder=stages((8, 16, 32, 64), (2, 1, 2, 2), num_res=2),
    latent_channels=4, head_dim=8, scaling_factor=0.5,
)  # fmt: skip
RESIDUAL = replace(SANA, decoder=stages((8, 16, 32, 64), (1, 1, 1, 1), num_res=4), decoder_shortcut=False)
SHUFFLED = replace(
    SANA, up="pixel_shuffle", down="pixel_unshuffle",
    encoder=(DCAutoencoderStage(channels=8, num_blocks=0), *SANA.encoder[1:]),
    decoder=(DCAutoencoderStage(channels=8, num_blocks=0), *SANA.decoder[1:]),
)  # fmt: skip


@pytest.mark.parametrize(("config", "rows"), [(SANA, 8), (SANA, 40), (RESIDUAL, 24), (SHUFFLED, 24)])
def test_bands_are_the_whole_picture(config: DCAutoencoderConfig, rows: int) -> None:
    torch.manual_seed(0)
    autoencoder = DCAutoencoder(config).double().eval().requires_grad_(False)
    for parameter in autoencoder.parameters():
        if parameter.ndim > 1:
            parameter.mul_(2)
    latent = torch.randn(1, 4, 9, 3, dtype=torch.float64)
    with torch.no_grad():
        whole, banded = autoencoder.decode(latent), decode_in_bands(autoencoder, latent, rows)
    assert banded.shape == whole.shape == (1, 3, 72, 24)
    assert whole.std() > 0.05
    torch.testing.assert_close(banded.double(), whole, atol=1e-6, rtol=1e-6)


def test_a_row_less_around_a_band_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    autoencoder = DCAutoencoder(SANA).eval().requires_grad_(False)
    latent = torch.randn(1, 4, 9, 3)
    with torch.no_grad():
        whole = autoencoder.decode(latent)
        monkeypatch.setattr(DCAutoencoderConfig, "band_reach", SANA.band_reach - 2)
        assert not torch.allclose(decode_in_bands(autoencoder, latent, 24), whole, atol=1e-5)


def test_what_bands_of_the_published_decoder_need() -> None:
    config = DC_AE_PRESETS["dc-ae-f32c32-sana-1.1"]
    assert config.band_reach == 8
    whole, banded = config.decode_bytes(4096, 4096), config.band_bytes(4096, 4096, 128)
    assert whole > 60e9
    assert banded < 6e9
