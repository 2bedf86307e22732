"""The compact upscaler: shapes, what it is without weights, and how far it sees."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.compact_upscaler import CompactUpscaler, CompactUpscalerConfig


@pytest.mark.parametrize(("scale", "height", "width"), [(2, 5, 7), (3, 1, 4), (4, 8, 8)])
def test_it_is_the_formula(scale: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    network = CompactUpscaler(CompactUpscalerConfig(scale=scale, hidden_size=6, num_layers=2)).double()
    pixels = torch.rand(2, 3, height, width, dtype=torch.float64)
    hidden = pixels
    for conv, slopes in zip(network.convs[:3], network.activations, strict=True):
        hidden = F.conv2d(hidden, conv.weight, conv.bias, padding=1)
        hidden = torch.where(hidden > 0, hidden, hidden * slopes.weight[:, None, None])
    last = F.conv2d(hidden, network.convs[3].weight, network.convs[3].bias, padding=1)
    parts = last.unflatten(1, (3, scale, scale))  # (B, 3, y, x, H, W)
    expected = parts.permute(0, 1, 4, 2, 5, 3).reshape(2, 3, scale * height, scale * width)
    expected = expected + pixels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(network(pixels), expected)


def test_a_pixel_reaches_as_far_as_the_config_says() -> None:
    torch.manual_seed(0)
    network = CompactUpscaler(CompactUpscalerConfig(scale=2, hidden_size=4, num_layers=1)).double()
    pixels = torch.rand(1, 3, 15, 15, dtype=torch.float64)
    changed = pixels.clone()
    changed[..., 7, 7] += 1
    far = (network(changed) != network(pixels)).any(dim=1)[0].nonzero()
    assert network.config.reach == 3
    assert far.min().item() == 2 * (7 - 3)
    assert far.max().item() == 2 * (7 + 3) + 1


def test_the_published_size() -> None:
    with torch.device("meta"):
        network = CompactUpscaler(CompactUpscalerConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == 621_424
    assert network.config.reach == 18


def test_bad_input_is_refused() -> None:
    for name in ("scale", "hidden_size", "num_layers"):
        with pytest.raises(ConfigError, match=f"{name}=0"):
            CompactUpscalerConfig(**{name: 0})
        assert getattr(CompactUpscalerConfig(**{name: 1}), name) == 1
    network = CompactUpscaler(CompactUpscalerConfig(hidden_size=4, num_layers=1))
    for shape in ((1, 4, 8, 8), (3, 8, 8)):
        with pytest.raises(ShapeError, match=re.escape(str(shape))):
            network(torch.zeros(shape))
