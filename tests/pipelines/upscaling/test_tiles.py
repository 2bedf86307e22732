"""Tiles equal the whole, at any scale, size and depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sanakit.common.errors import RequestError
from sanakit.models.compact_upscaler import CompactUpscaler, CompactUpscalerConfig
from sanakit.pipelines.decoding.memory import UPSCALING_TILE, upscaling_bytes
from sanakit.pipelines.upscaling.tiles import upscale_levels
from sanakit.pipelines.upscaling.upscaler import NetworkUpscaler, Upscaler, load_upscaler


def levels_of(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize(("height", "width", "tile"), [(40, 31, 16), (33, 65, 32), (16, 17, 16), (5, 9, 4), (1, 70, 7)])
def test_tiles_equal_the_whole(
    tiny_upscaler_network: CompactUpscaler, scale: int, height: int, width: int, tile: int
) -> None:
    upscaler = NetworkUpscaler(tiny_upscaler_network, scale, name="tiny")
    levels, told = levels_of(height, width), []
    whole = upscale_levels(upscaler, levels)
    tiled = upscale_levels(
        upscaler, levels, tile=tile, on_progress=lambda done, total, what: told.append((done, total))
    )
    assert whole.shape == (scale * height, scale * width, 3)
    assert np.abs(tiled.astype(int) - whole.astype(int)).max() <= 1  # a sum in another order may round the other way
    assert (tiled != whole).mean() < 1e-3
    total = -(-height // tile) * -(-width // tile)
    assert told == [(done, total) for done in range(1, total + 1)]


def test_a_tile_sees_no_more_than_it_needs() -> None:
    """With one pixel of context less, some pixel would differ: the reach is exact."""
    torch.manual_seed(1)
    network = CompactUpscaler(CompactUpscalerConfig(scale=4, hidden_size=8, num_layers=1)).eval()
    for conv in network.convs:
        conv.weight.data *= 3
    for scale in (2, 4):
        upscaler = NetworkUpscaler(network, scale, name="tiny")
        levels = levels_of(24, 24, np.uint16)
        whole = upscale_levels(upscaler, levels)
        assert np.abs(upscale_levels(upscaler, levels, tile=8).astype(int) - whole).max() <= 1
        upscaler.reach -= 1
        assert np.abs(upscale_levels(upscaler, levels, tile=8).astype(int) - whole).max() > 1


def test_levels_of_16_bits_keep_their_fineness(tiny_upscaler_network: CompactUpscaler) -> None:
    upscaler = NetworkUpscaler(tiny_upscaler_network, 4, name="tiny")
    fine = np.full((6, 6, 3), 1000, np.uint16)
    larger = upscale_levels(upscaler, fine)
    assert larger.dtype == np.uint16
    assert not (larger % 257 == 0).all()


def test_values_that_are_no_numbers_do_not_wrap_around() -> None:
    class Broken:
        name, hash, scale, reach = "broken", "0", 2, None

        def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.tensor([float("nan"), 2.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)

    assert isinstance(Broken(), Upscaler)
    assert upscale_levels(Broken(), levels_of(4, 4))[0, 0].tolist() == [0, 255, 0]


def test_scales_that_are_not_offered(tiny_upscaler_network: CompactUpscaler) -> None:
    with pytest.raises(RequestError, match="scale=3 is not usable; it must be 2 or 4"):
        load_upscaler(3)
    with pytest.raises(RequestError, match="enlarges 4 times"):
        NetworkUpscaler(tiny_upscaler_network, 3, name="tiny")


def test_memory_grows_with_the_larger_picture_and_not_with_the_work() -> None:
    assert upscaling_bytes(4096, 4096, 1) == 0
    small, large = upscaling_bytes(1000, 1000, 4), upscaling_bytes(2000, 2000, 4)
    assert large - small == 12 * 16 * 3_000_000
    assert upscaling_bytes(128, 128, 4) < upscaling_bytes(UPSCALING_TILE, UPSCALING_TILE, 4)
