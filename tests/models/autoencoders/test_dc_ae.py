"""What DCAutoencoder must be whatever its weights; numbers are compared in ``tests/parity/test_dc_ae.py``."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.layers.resample import UpOp
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, DCAutoencoderStage, stages

WIDTHS = (8, 16, 16)
SMALL = DCAutoencoderConfig(
    encoder=stages(WIDTHS, (1, 1, 1), num_res=2),
    decoder=stages(WIDTHS, (1, 1, 1), num_res=2),
    latent_channels=4,
    head_dim=8,
    scaling_factor=0.5,
)
PACKED = replace(
    SMALL,
    encoder=stages(WIDTHS, (0, 1, 1), num_res=2),
    decoder=stages(WIDTHS, (0, 1, 1), num_res=2),
    down="pixel_unshuffle",
    up="pixel_shuffle",
)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", [SMALL, PACKED], ids=["conv", "packed"])
@torch.no_grad()
def test_shapes_and_scale(config: DCAutoencoderConfig) -> None:
    torch.manual_seed(0)
    model = DCAutoencoder(config).eval()
    pixels = draw(2, 3, 8, 12)
    latent = model.encode(pixels)
    assert config.compression == 4
    assert latent.shape == (2, 4, 2, 3)
    assert model.decode(latent).shape == (2, 3, 8, 12)
    torch.testing.assert_close(latent, 0.5 * model.encoder(pixels))
    torch.testing.assert_close(model.decode(latent), model.decoder(latent / 0.5))


@torch.no_grad()
def test_the_shortcuts_alone_carry_a_flat_picture_to_the_latent() -> None:
    """With every weight zero, what remains is stem, means of channel groups and repeats: a flat grey stays flat."""
    model = DCAutoencoder(SMALL).eval()
    for parameter in model.parameters():
        parameter.zero_()
    model.encoder.conv_in.bias.copy_(torch.arange(8.0))
    latent = model.encoder(draw(1, 3, 8, 8))
    # 8 channels, each four times, make 16 pairs: 0 0 1 1 ... 7 7; 16 to 16 takes fours; then four groups of four
    first = torch.arange(8.0).repeat_interleave(2)
    torch.testing.assert_close(latent, first.view(4, 4).mean(1).view(1, 4, 1, 1).expand(1, 4, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_an_evaluation_repeats_to_the_bit(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = DCAutoencoder(SMALL).eval().to(dtype)
    pixels = draw(1, 3, 8, 8).to(dtype)
    assert torch.equal(model.decode(model.encode(pixels)), model.decode(model.encode(pixels)))


@torch.no_grad()
def test_pictures_of_a_batch_do_not_mix() -> None:
    torch.manual_seed(0)
    decoder = stages(WIDTHS, (0, 1, 1), num_res=2, shallow_norm="batch", shallow_activation="relu")
    config = replace(PACKED, decoder=decoder)
    model = DCAutoencoder(config).eval()
    pixels = draw(3, 3, 8, 8)
    together = model.decode(model.encode(pixels))
    torch.testing.assert_close(together[1:2], model.decode(model.encode(pixels[1:2])), rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    model = DCAutoencoder(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.decode(model.encode(draw(2, 3, 8, 8))).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_inputs_that_do_not_fit_are_refused_in_a_sentence() -> None:
    model = DCAutoencoder(SMALL)
    for wrong in ((1, 3, 8, 10), (1, 1, 8, 8), (3, 8, 8)):
        with pytest.raises(ShapeError, match=r"reads \(B, 3, H, W\) with both sides multiples of 4"):
            model.encode(draw(*wrong))
    with pytest.raises(ShapeError, match=r"reads \(B, 4, h, w\)"):
        model.decode(draw(1, 3, 2, 2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"latent_channels": 5},
        {"latent_channels": 0},
        {"head_dim": 3},
        {"head_dim": 0},
        {"scaling_factor": 0.0},
        {"encoder": ()},
        {"encoder": stages((8, 16), (1, 1))},
        {"encoder": stages(WIDTHS, (1, 0, 1), num_res=2)},
        {"encoder": stages((8, 48, 48), (1, 1, 1), num_res=3)},
        {"decoder": stages((8, 12, 16), (1, 1, 1), num_res=3)},
        {
            "encoder": (DCAutoencoderStage(channels=8, num_blocks=0),),
            "decoder": (DCAutoencoderStage(channels=8, num_blocks=1),),
        },
        {"encoder": stages((8, 18, 20), (0, 1, 1), num_res=3), "down": "pixel_unshuffle"},
    ],
    ids=str,
)
def test_configs_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(SMALL, **wrong)
    assert "\n" not in str(caught.value)


def test_stages_that_cannot_work_are_refused() -> None:
    for wrong in ({"num_blocks": -1}, {"channels": 0}, {"scales": (4,)}):
        with pytest.raises(ConfigError):
            DCAutoencoderStage(**{"channels": 8, "num_blocks": 1, **wrong})


@torch.no_grad()
def test_the_shortcuts_alone_carry_a_flat_latent_to_the_head() -> None:
    heads: list[torch.Tensor] = []
    for changes, expected in (
        ({}, torch.arange(4.0).repeat_interleave(2)),
        ({"decoder_shortcut": False}, torch.zeros(8)),
    ):
        model = DCAutoencoder(replace(SMALL, **changes)).eval()
        for parameter in model.parameters():
            parameter.zero_()
        model.decoder.norm_out.register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0]))
        model.decoder(torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 2, 2))
        torch.testing.assert_close(heads[-1], expected.view(1, 8, 1, 1).expand(1, 8, 8, 8))
    bare = DCAutoencoder(replace(SMALL, encoder_shortcut=False)).eval()
    bare.encoder.conv_out.weight.zero_()
    bare.encoder.conv_out.bias.zero_()
    assert not bare.encoder(draw(1, 3, 8, 8)).any()


@torch.no_grad()
def test_the_head_is_norm_activation_convolution() -> None:
    for name, activation in (("relu", torch.relu), ("silu", torch.nn.functional.silu)):
        model = DCAutoencoder(replace(SMALL, head_activation=name, decoder_shortcut=False)).eval()
        x = draw(1, 8, 4, 4)
        model.decoder.stages = torch.nn.ModuleList([torch.nn.Identity()])
        model.decoder.conv_in = torch.nn.Identity()
        torch.testing.assert_close(model.decoder(x), model.decoder.conv_out(activation(model.decoder.norm_out(x))))


@pytest.mark.parametrize(
    ("decoder", "up", "bytes_per_pixel", "largest_per_pixel"),
    [
        # residual stages take 6 values a channel, EfficientViT 32, upsampling 2.25 of its input and 2.5 of its output
        (stages(WIDTHS, (1, 1, 1), num_res=2), "interpolate", 4 * (2.25 * 16 + 2.5 * 8), 16),
        (stages(WIDTHS, (0, 1, 1), num_res=2), "pixel_shuffle", 4 * (2.25 * 16 + 2.5 * 3), 8 * 16 / 16),
        (stages(WIDTHS, (0, 1, 1), num_res=2), "interpolate", 4 * (2.25 * 16 + 2.5 * 3), 16),
        (stages((8, 32, 64), (1, 1, 1), num_res=1), "interpolate", 4 * 32 * 32 / 4, 8 * 32 / 4),
        (stages((8, 16, 64), (1, 1, 1), num_res=2), "pixel_shuffle", 4 * 32 * 64 / 16, 8 * 64 / 16),
        (stages((8, 4, 4), (1, 1, 1), num_res=3), "pixel_shuffle", 4 * 6 * 8, 8),
    ],
)
def test_memory_of_decoding_follows_from_the_largest_stage(
    decoder: tuple[DCAutoencoderStage, ...], up: UpOp, bytes_per_pixel: float, largest_per_pixel: float
) -> None:
    config = replace(SMALL, decoder=decoder, up=up, head_dim=4)
    assert config.decode_bytes(10, 6) == bytes_per_pixel * 60
    assert config.largest_tensor(10, 6) == largest_per_pixel * 60


def test_what_is_left_out_of_a_config_and_of_stages() -> None:
    config = DCAutoencoderConfig(
        encoder=(DCAutoencoderStage(channels=64, num_blocks=1),),
        decoder=(DCAutoencoderStage(channels=64, num_blocks=1),),
    )
    assert (config.latent_channels, config.in_channels, config.head_dim, config.scaling_factor) == (32, 3, 32, 1.0)
    assert (config.down, config.up, config.head_activation) == ("conv", "interpolate", "relu")
    assert (config.encoder_shortcut, config.decoder_shortcut, config.compression) == (True, True, 1)
    assert stages((8, 8, 8, 8), (0, 1, 1, 2)) == (
        DCAutoencoderStage(channels=8, num_blocks=0, block="res", scales=(), norm="rms", activation="silu"),
        DCAutoencoderStage(channels=8, num_blocks=1), DCAutoencoderStage(channels=8, num_blocks=1),
        DCAutoencoderStage(channels=8, num_blocks=2, block="vit", scales=(5,), norm="rms", activation="silu"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="in_channels=0"):
        replace(config, in_channels=0)
