from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.dc_ae import DC_CLIP_AE
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.complete import find_clip_autoencoder
from sanakit.common.errors import ShapeError
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_clips import DCClipAutoencoder, TimeConfig, clips_of_pictures
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, DCAutoencoderStage
from sanakit.quantization.quantize import quantize_
from sanakit.quantization.schemes import scheme_named


def small_picture() -> DCAutoencoder:
    stages = (DCAutoencoderStage(channels=8, num_blocks=0), DCAutoencoderStage(channels=8, num_blocks=1))
    torch.manual_seed(0)
    return DCAutoencoder(DCAutoencoderConfig(encoder=stages, decoder=stages, latent_channels=4, scaling_factor=1.5))


@pytest.fixture
def model() -> DCClipAutoencoder:
    model = clips_of_pictures(small_picture(), TimeConfig(frames=2, channels=8, num_blocks=1), 0)
    for mixer in (model.gather, model.spread):
        nn.init.normal_(mixer.conv_out.weight, std=0.1)
    return model.double().eval().requires_grad_(False)


def clip(frames: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, frames, 6, 8, generator=g, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("frames", [1, 3, 9])
@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_chunk_by_chunk_is_the_whole_clip(model: DCClipAutoencoder, frames: int, at_once: int) -> None:
    whole = model.encode(clip(frames), at_once=99)
    assert whole.shape == (2, 4, 1 + (frames - 1) // 2, 3, 4)
    torch.testing.assert_close(model.encode(clip(frames), at_once=at_once), whole)
    back = model.decode(whole, at_once=99)
    assert back.shape == clip(frames).shape
    torch.testing.assert_close(model.decode(whole, at_once=at_once), back)


def test_the_first_frame_is_the_picture_and_no_frame_sees_a_later_one(model: DCClipAutoencoder) -> None:
    pixels = clip(9)
    latent = model.encode(pixels)
    torch.testing.assert_close(latent[:, :, 0], model.picture.encode(pixels[:, :, 0]))
    torch.testing.assert_close(model.decode(latent)[:, :, 0], model.picture.decode(latent[:, :, 0]))
    changed = pixels.clone()
    changed[:, :, 5:] = 0
    assert torch.equal(model.encode(changed)[:, :, :3], latent[:, :, :3])
    later = latent.clone()
    later[:, :, 3:] = 0
    assert torch.equal(model.decode(later)[:, :, :5], model.decode(latent)[:, :, :5])


def test_it_begins_as_the_mean_of_the_frames() -> None:
    model = clips_of_pictures(small_picture(), TimeConfig(frames=2, channels=8, num_blocks=1), 0).double()
    still = clip(1).expand(-1, -1, 5, -1, -1)
    latent = model.encode(still)
    torch.testing.assert_close(latent[:, :, 2], latent[:, :, 0])
    torch.testing.assert_close(model.decode(latent)[:, :, 4], model.picture.decode(latent[:, :, 0]))


def test_it_is_written_and_read(model: DCClipAutoencoder, tmp_path: Path) -> None:
    save_network(DC_CLIP_AE, model.float(), tmp_path / "model")
    found = find_clip_autoencoder(str(tmp_path / "model"))
    assert found.config == model.config
    again = load_network(found, dtype=torch.float32)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_it_goes_through_a_file_in_eight_bits(tmp_path: Path) -> None:
    stages = (
        DCAutoencoderStage(channels=32, num_blocks=0),
        DCAutoencoderStage(channels=64, num_blocks=1),
        DCAutoencoderStage(channels=64, num_blocks=1, block="vit"),
    )
    picture = DCAutoencoder(DCAutoencoderConfig(encoder=stages, decoder=stages, latent_channels=16))
    model = clips_of_pictures(picture, TimeConfig(frames=2, channels=32, num_blocks=1), 0).eval()
    quantize_(model, scheme_named("int8-weight"))
    save_network(DC_CLIP_AE, model, tmp_path / "model")
    found = find_clip_autoencoder(str(tmp_path / "model"))
    again = load_network(found, dtype=torch.float32)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_other_lengths_are_refused(model: DCClipAutoencoder) -> None:
    with pytest.raises(ShapeError, match="1 frame more than a multiple of 2"):
        model.encode(clip(4))
