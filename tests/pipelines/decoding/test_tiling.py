"""Tiles: where they lie, how they blend, and how far a tiled decode is from a whole one."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import ConfigError
from sanakit.pipelines.decoding.tiling import Tiling, decode_tiled, spans


def enlarge(latent: Tensor) -> Tensor:
    """A decoder that looks at nothing but its own position."""
    return latent[:, :3].repeat_interleave(4, -1).repeat_interleave(4, -2)


def test_spans_are_those_of_the_published_tiling() -> None:
    assert list(spans(128, 32, 28)) == [(0, 32), (28, 60), (56, 88), (84, 116), (112, 128)]
    assert list(spans(32, 16, 14)) == [(0, 16), (14, 30), (28, 32)]


@pytest.mark.parametrize("length", [1, 5, 16, 17, 30, 31, 64])
def test_spans_cover_everything_and_none_lies_inside_another(length: int) -> None:
    tiles = list(spans(length, 16, 14))
    assert tiles[0][0] == 0
    assert tiles[-1][1] == length
    for (_, end), (begin, later) in pairwise(tiles):
        assert begin < end < later


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 21), (3, 40)])
@pytest.mark.parametrize(("tile", "stride"), [(32, 24), (32, 32), (24, 12)])
def test_a_local_decoder_gives_the_same_tiled_or_whole(height: int, width: int, tile: int, stride: int) -> None:
    latent = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))
    tiled = decode_tiled(enlarge, latent, Tiling(tile=tile, stride=stride), 4)
    torch.testing.assert_close(tiled, enlarge(latent), rtol=0, atol=1e-6)


def test_neighbours_fade_into_each_other_linearly() -> None:
    """Tiles that decode to their own number: the overlap runs from one number to the next."""
    numbers = iter([0.0, 1.0])
    tiled = decode_tiled(
        lambda tile: torch.full((1, 3, 4 * tile.shape[-2], 4 * tile.shape[-1]), next(numbers)),
        torch.zeros(1, 4, 4, 14), Tiling(tile=32, stride=24), 4,
    )  # fmt: skip
    expected = torch.cat([torch.zeros(24), torch.arange(8) / 8, torch.ones(24)])
    torch.testing.assert_close(tiled[0, 0, 0], expected)


def test_tiled_and_whole_agree_within_the_seam_error(tiny_bundle: ModelBundle) -> None:
    """The decoder's attention sees the whole picture, so tiles differ; pinned so that it cannot get worse unseen."""
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = tiny_bundle.autoencoder.decode(latent)
        tiled = decode_tiled(tiny_bundle.autoencoder.decode, latent, Tiling(tile=192, stride=128), 16)
    error = float((tiled - whole).square().mean().sqrt() / whole.std())
    print(f"seam error: {error:.4f} of the standard deviation")
    assert error == pytest.approx(0.224, abs=0.02)  # large, as random weights mix far more than trained ones


@pytest.mark.parametrize(("tile", "stride"), [(0, 0), (256, 300), (256, 100), (256, 0)])
def test_a_tiling_without_gaps_or_double_overlap(tile: int, stride: int) -> None:
    with pytest.raises(ConfigError, match="gaps or overlap twice"):
        Tiling(tile=tile, stride=stride)


def test_tiles_have_two_latent_positions_at_least() -> None:
    seen: list[tuple[int, ...]] = []

    def decode(latent: Tensor) -> Tensor:
        seen.append(tuple(latent.shape[-2:]))
        return enlarge(latent)

    latent = torch.randn(1, 4, 3, 3)
    tiled = decode_tiled(decode, latent, Tiling(tile=4, stride=3), 4)
    assert max(seen) == (2, 2)
    torch.testing.assert_close(tiled, enlarge(latent))
