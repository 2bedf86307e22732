"""Embeddings: golden values, and diffusers' tables of positions."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.models.embeddings import get_2d_sincos_pos_embed

from sanakit.layers.embeddings import CaptionProjection, ScalarEmbedding, sincos_position, sinusoid


def test_the_sinusoid_of_time_500() -> None:
    """Spec anchor: cosines first."""
    waves = sinusoid(torch.tensor([500.0]))[0]
    assert waves.shape == (256,)
    assert waves.dtype == torch.float32
    expected = torch.tensor([[-0.883849, 0.945943, 0.848515, 0.698688], [-0.467772, 0.324334, -0.529172, 0.715426]])
    torch.testing.assert_close(waves.view(2, 128)[:, :4], expected, rtol=0, atol=2e-5)


def test_the_sinusoid_against_its_formula() -> None:
    times = [0.0, 0.25, 17.0, 999.667]
    expected = [
        [wave(t * math.exp(-math.log(10000) * i / 8)) for wave in (math.cos, math.sin) for i in range(8)] for t in times
    ]
    found = sinusoid(torch.tensor(times), 16)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)  # float32 angles up to 1000


def test_neighbouring_times_stay_apart_in_half_precision_networks() -> None:
    """bfloat16 holds every integer up to 256 only; the sinusoid must not be computed in it."""
    times = torch.tensor([750.0, 751.0])
    layer = ScalarEmbedding(8).to(torch.bfloat16)
    first, second = layer(times)
    assert first.dtype == torch.bfloat16
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("height", "width", "base", "scale"),
    [
        (8, 8, 8, 1.0),
        (6, 10, 8, 1.0),
        (64, 64, 64, 1.0),
        (48, 80, 64, 1.0),  # 2K: a base of 64 positions
        (128, 128, 128, 2.0),
        (96, 160, 128, 2.0),
        (5, 3, 8, 0.5),  # 4K: 128, scaled by two
    ],
)
def test_positions_match_diffusers(height: int, width: int, base: int, scale: float) -> None:
    expected = get_2d_sincos_pos_embed(32, (height, width), base_size=base, interpolation_scale=scale, output_type="pt")
    found = sincos_position(height, width, 32, base_size=base, interpolation_scale=scale, device=torch.device("cpu"))
    assert found.shape == (1, height * width, 32)
    assert found.dtype == torch.float32
    # theirs holds positions in float32: 128 positions of 2**-17 each
    torch.testing.assert_close(found[0], expected.float(), rtol=0, atol=2e-5)


def test_columns_come_before_rows() -> None:
    grid = sincos_position(2, 3, 8, base_size=3, interpolation_scale=1.0, device=torch.device("cpu"))[0].view(2, 3, 8)
    assert torch.equal(grid[0, :, :4], grid[1, :, :4])  # the first half knows the column only
    assert torch.equal(grid[:, 0, 4:], grid[:, 2, 4:])  # the second half the row only
    torch.testing.assert_close(grid[0, 2, 0], torch.tensor(math.sin(2.0)))
    torch.testing.assert_close(grid[1, 0, 4], torch.tensor(math.sin(1.5)))  # two rows stretched onto three


def test_the_caption_projection_uses_the_tanh_gelu() -> None:
    layer, text = CaptionProjection(3, 4).double(), torch.linspace(-3, 3, 6, dtype=torch.float64).view(1, 2, 3)
    inner = layer.linear_1(text)
    gelu = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    torch.testing.assert_close(layer(text), layer.linear_2(gelu))
