"""LTX-2's autoencoder by itself: what sees what, and the order of its patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.layers.causal import ClipMemory
from sanakit.models.autoencoders.ltx2 import LTX2Autoencoder, LTX2AutoencoderConfig


@pytest.fixture(scope="module")
def network() -> LTX2Autoencoder:
    config = LTX2AutoencoderConfig(
        channels=(8, 16, 32, 64), num_blocks=(0, 0, 0, 0, 0), decoder_channels=(8, 16, 32),
        decoder_num_blocks=(0, 0, 0, 0), latent_channels=8, decoder_causal=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LTX2Autoencoder(config).double().eval().requires_grad_(False)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_frames_there_and_back_and_none_sees_a_later_one(network: LTX2Autoencoder) -> None:
    pixels = draw(1, 3, 17, 64, 96)
    latent = network.encode(pixels)
    assert latent.shape == (1, 8, 3, 2, 3)
    frames = network.decode(latent)
    assert frames.shape == pixels.shape
    pixels[:, :, 9:] = draw(1, 3, 8, 64, 96, seed=2)
    other = network.encode(pixels)
    assert torch.equal(other[:, :, :2], latent[:, :, :2])
    assert not torch.allclose(other[:, :, 2], latent[:, :, 2])
    assert torch.equal(network.decode(other)[:, :, :9], frames[:, :, :9])
    with pytest.raises(ShapeError, match="1 frame more than a multiple of 8"):
        network.encode(pixels[:, :, :16])


def test_a_patch_has_its_columns_before_its_rows_both_ways(network: LTX2Autoencoder) -> None:
    """What the encoder's first layer is given of a picture, the decoder's last would give back."""
    pixels, given = draw(1, 3, 1, 64, 64), []
    handle = network.encoder.conv_in.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    network.encoder(pixels, ClipMemory())
    handle.remove()
    patches = given[0].unflatten(1, (3, 4, 4))  # (B, 3, column, row, T, H / 4, W / 4)
    for row, column in ((0, 0), (1, 2), (3, 1)):
        assert torch.equal(patches[:, :, column, row], pixels[:, :, :, row::4, column::4])
    handle = network.decoder.conv_out.register_forward_hook(lambda *_: given[0])
    (decoded,) = network.decoder(draw(1, 8, 1, 2, 2), ClipMemory())
    assert torch.equal(decoded, pixels)
    handle.remove()


def test_frames_that_wait_for_later_ones_are_those_of_the_whole_clip() -> None:
    """However long the chunks; and neither on the way nor at the end are there more frames at once than of a chunk."""
    config = LTX2AutoencoderConfig(
        channels=(8, 16, 32, 64), num_blocks=(0, 0, 0, 0, 0), decoder_channels=(8, 16, 32),
        decoder_num_blocks=(1, 0, 2, 1), latent_channels=8, decoder_causal=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LTX2Autoencoder(config).double().eval().requires_grad_(False)
    for num_latents in (1, 2, 9):
        latent = draw(1, 8, num_latents, 2, 3)
        (whole,) = model.decode_stream(latent, at_once=num_latents)
        for at_once in (1, 2):
            pieces = [*model.decode_stream(latent, at_once=at_once)]
            assert max(piece.shape[2] for piece in pieces) <= 8 * at_once
            torch.testing.assert_close(torch.cat(pieces, dim=2), whole)
