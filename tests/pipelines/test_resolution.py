"""Requested size to generated size, and back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sanakit.common.errors import RequestError
from sanakit.pipelines.resolution import check_upscaled_size, generated_size, granularity_of, resize_and_crop


def planned(height: int, width: int, base_size: int, **options: bool) -> tuple[int, int]:
    return generated_size(height, width, base_size, 32, **options)


def test_the_size_of_the_model_is_made_as_it_is() -> None:
    assert planned(1024, 1024, 1024) == (1024, 1024)
    assert planned(128, 128, 128) == (128, 128)


def test_published_models_generate_the_nearest_bin() -> None:
    assert planned(720, 1280, 1024) == (768, 1344)
    assert planned(999, 777, 512) == (576, 448)


def test_without_binning_the_size_is_made_as_it_is() -> None:
    assert planned(704, 1280, 1024, use_binning=False) == (704, 1280)


def test_the_starter_makes_multiples_of_32_around_its_size() -> None:
    assert planned(96, 160, 128) == (96, 160)


@pytest.mark.parametrize(
    ("height", "width", "base_size", "options", "words"),
    [
        (100, 128, 128, {}, r"height=100 .* multiples of 32 from 64 to 256 .* nearest is 96"),
        (128, 512, 128, {}, r"width=512 .* nearest is 256"),
        (32, 128, 128, {}, r"height=32 .* nearest is 64"),
        (720, 1280, 1024, {"use_binning": False}, r"height=720 .* nearest is 704"),
        (256, 1280, 1024, {}, r"1280x256 is too long"),
        (4096, 4096, 1024, {}, r"at most 2048x2048"),
    ],
)
def test_what_a_model_cannot_make_is_refused_with_what_it_can(height, width, base_size, options, words) -> None:
    with pytest.raises(RequestError, match=words):
        planned(height, width, base_size, **options)


@pytest.mark.parametrize("made", [(768, 1344), (512, 512), (64, 96)])
@pytest.mark.parametrize("asked", [(720, 1280), (333, 77), (64, 96), (97, 64)])
def test_resize_and_crop_always_gives_the_requested_size(made: tuple[int, int], asked: tuple[int, int]) -> None:
    assert resize_and_crop(torch.zeros(1, 3, *made), *asked).shape == (1, 3, *asked)


def test_rounding_never_loses_a_row() -> None:
    """97 * (h / 97) is below h in floating point for some h, such as 25, 28 and 31."""
    for height in range(20, 60):
        assert resize_and_crop(torch.zeros(1, 1, 97, 97), height, height).shape[-2:] == (height, height)


def test_an_equal_size_is_left_alone_and_the_crop_is_central() -> None:
    pixels = torch.arange(12.0).view(1, 1, 3, 4)
    assert resize_and_crop(pixels, 3, 4) is resize_and_crop(pixels, None, None) is pixels
    assert torch.equal(resize_and_crop(pixels, 3, 2), pixels[..., 1:3])


def test_the_borders_of_what_is_made() -> None:
    for side in (64, 256):  # half of 128 to twice
        assert planned(side, side, 128) == (side, side)
    for side, nearest in ((288, 256), (32, 64)):
        with pytest.raises(RequestError, match=f"nearest is {nearest}"):
            planned(side, 128, 128)
    assert planned(64, 64, 32) == (64, 64)
    assert planned(32, 32, 16) == (32, 32)  # smaller ones make one step at least
    assert planned(100, 400, 512) == (256, 1024)
    with pytest.raises(RequestError, match=r"401x100 is too long; .* a factor of at most 4, such as 1024x256"):
        planned(100, 401, 512)
    assert planned(1024, 1024, 512) == (512, 512)
    with pytest.raises(RequestError, match=r"1025x1025 is more than twice .* at most 1024x1024"):
        planned(1025, 1025, 512)
    assert planned(256, 256, 256) == (256, 256)
    with pytest.raises(RequestError, match="height=250"):
        planned(250, 256, 256)  # bins begin with models of 512 px


def test_steps_of_sizes() -> None:
    def config(patch_size: int) -> Any:
        return SimpleNamespace(patch_size=patch_size)

    pairs = ((1, 8), (1, 32), (2, 32), (4, 8))
    assert [granularity_of(config(patch), compression) for patch, compression in pairs] == [32, 32, 64, 32]


def test_the_largest_enlarged_picture() -> None:
    check_upscaled_size(1, 178_956_970 // 4, 2)
    with pytest.raises(RequestError, match=r"44739243x1 enlarged 2 times has 179 million pixels.* is 179 million$"):
        check_upscaled_size(1, 178_956_970 // 4 + 1, 2)
    with pytest.raises(RequestError, match="2 times is possible"):
        check_upscaled_size(1, 178_956_970 // 4, 4)
    with pytest.raises(RequestError, match=r"million$"):
        check_upscaled_size(1, 178_956_970 // 4 + 1, 4)


def test_bilinear_and_central() -> None:
    pixels = torch.rand(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(pixels, (10, 15), mode="bilinear", align_corners=False)
    assert torch.equal(resize_and_crop(pixels, 10, 12), large[..., :, 1:13])
    large = torch.nn.functional.interpolate(pixels, (8, 12), mode="bilinear", align_corners=False)
    assert torch.equal(resize_and_crop(pixels, 5, 12), large[..., 1:6, :])
    assert torch.equal(resize_and_crop(pixels, None, 3), pixels[..., :, 1:4])
