"""Norms and resampling against their definitions, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.layers.norms import PixelRMSNorm, RMSNorm
from sanakit.layers.resample import Downsample, Upsample, average_groups, repeat_groups


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_rms_norms() -> None:
    x = draw(2, 6, 3, 4)
    pixel, last = PixelRMSNorm(6).double(), RMSNorm(4, eps=0.3).double()
    for parameter in (*pixel.parameters(), *last.parameters()):
        parameter.data.copy_(draw(*parameter.shape))
    rms = (x.square().sum(1, keepdim=True) / 6 + 1e-5).sqrt()
    torch.testing.assert_close(pixel(x), x / rms * pixel.weight.view(6, 1, 1) + pixel.bias.view(6, 1, 1))
    rms = (x.square().sum(-1, keepdim=True) / 4 + 0.3).sqrt()
    torch.testing.assert_close(last(x), x / rms * last.weight)


def test_the_statistics_of_half_precision_do_not_overflow() -> None:
    """300 squared is beyond float16; language models and deep autoencoders reach that."""
    x = torch.full((1, 8, 2, 2), 300.0, dtype=torch.float16)
    torch.testing.assert_close(PixelRMSNorm(8).half()(x), torch.ones_like(x))
    torch.testing.assert_close(RMSNorm(2, eps=1e-5).half()(x), torch.ones_like(x))


def test_groups_are_consecutive_channels() -> None:
    x = torch.arange(4.0).view(1, 4, 1, 1)
    assert average_groups(x, 2).flatten().tolist() == [0.5, 2.5]
    assert repeat_groups(x, 8).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("op", ["conv", "pixel_unshuffle"])
@pytest.mark.parametrize("out_channels", [4, 8, 16])
def test_downsample(op: str, out_channels: int) -> None:
    layer, x = Downsample(4, out_channels, op=op).double(), draw(2, 4, 6, 8)
    corners = [x[:, :, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
    packed = torch.stack(corners, dim=2).flatten(1, 2)  # (2, 16, 3, 4): channel by channel, row by row
    shortcut = packed.unflatten(1, (out_channels, -1)).mean(2)
    if op == "conv":
        main = F.conv2d(x, layer.conv.weight, layer.conv.bias, stride=2, padding=1)
    else:
        y = layer.conv(x)
        main = torch.stack([y[:, :, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)], dim=2).flatten(1, 2)
    torch.testing.assert_close(layer(x), main + shortcut)


@pytest.mark.parametrize("op", ["interpolate", "pixel_shuffle"])
@pytest.mark.parametrize("out_channels", [2, 4, 8])
def test_upsample(op: str, out_channels: int) -> None:
    layer, x = Upsample(8, out_channels, op=op).double(), draw(2, 8, 3, 4)
    packed = x.repeat_interleave(4 * out_channels // 8, dim=1)
    if op == "interpolate":
        main = layer.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    else:
        main = spread(layer.conv(x))
    torch.testing.assert_close(layer(x), main + spread(packed))


def spread(packed: Tensor) -> Tensor:
    """Four channels ``(c, dy, dx)`` to the four pixels of one channel."""
    batch, channels, height, width = packed.shape
    out = packed.new_empty(batch, channels // 4, 2 * height, 2 * width)
    for dy in (0, 1):
        for dx in (0, 1):
            out[:, :, dy::2, dx::2] = packed[:, 2 * dy + dx :: 4]
    return out


def test_without_a_shortcut_only_the_convolution_counts() -> None:
    x = draw(1, 4, 4, 4)
    for layer in (Downsample(4, 8, op="conv", shortcut=False), Upsample(4, 8, op="interpolate", shortcut=False)):
        layer.double().conv.weight.data.zero_()
        assert torch.equal(layer(x), layer.conv.bias.view(1, -1, 1, 1).expand_as(layer(x)))
