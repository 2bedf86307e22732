"""Pictures of every kind come back as the same kind, larger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.common.errors import DecodeMemoryError, PictureError
from sanakit.models.compact_upscaler import CompactUpscaler
from sanakit.pipelines.upscaling.images import enlarge, upscale_image
from sanakit.pipelines.upscaling.upscaler import NetworkUpscaler


@pytest.fixture
def upscaler(tiny_upscaler_network: CompactUpscaler) -> NetworkUpscaler:
    return NetworkUpscaler(tiny_upscaler_network, 2, name="tiny")


class Repeat:
    """Repeats pixels: what comes out can be told by eye."""

    name, hash, scale, reach = "repeat", "0", 2, 0

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("RGB", "RGB"), ("RGBA", "RGBA"), ("L", "L"), ("LA", "LA"), ("1", "L"), ("P", "RGB"), ("CMYK", "RGB"),
        ("YCbCr", "RGB"), ("HSV", "RGB"), ("LAB", "RGB"), ("PA", "RGBA"), ("I;16", "I;16"), ("I;16B", "I;16"),
        ("I", "L"), ("RGBX", "RGB"), ("RGBa", "RGBA"),
    ],
)  # fmt: skip
def test_modes(upscaler: NetworkUpscaler, mode: str, expected: str) -> None:
    larger = upscale_image(upscaler, Image.new(mode, (6, 5)))
    assert (larger.mode, larger.size) == (expected, (12, 10))


def test_levels_stay_what_they_are() -> None:
    wide = Image.new("I", (6, 5), 300)  # of 32 bits: white is 65535 where something is more than 255
    assert upscale_image(Repeat(), wide).mode == "I;16"
    gray16 = np.arange(0, 65536, 2621, dtype=np.uint16)[:25].reshape(5, 5)
    for array in (gray16, (gray16 >> 8).astype(np.uint8)):
        larger = np.asarray(upscale_image(Repeat(), Image.fromarray(array)))
        assert larger.dtype == array.dtype
        assert (larger == array.repeat(2, 0).repeat(2, 1)).all()


def test_a_transparent_colour_is_named_in_the_file_of_a_palette() -> None:
    picture = Image.new("P", (4, 4))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 1), 1)
    picture.info["transparency"] = 0
    larger = upscale_image(Repeat(), picture)
    assert larger.mode == "RGBA"
    assert larger.getpixel((0, 0))[3] == 0
    assert larger.getpixel((2, 2)) == (0, 0, 255, 255)


def test_hidden_colours_do_not_show_at_the_edge() -> None:
    """Red on black that nobody sees; an upscaler that looks at neighbours must find red there."""
    pixels = np.zeros((60, 60, 4), np.uint8)
    pixels[10:20, 10:20] = (255, 0, 0, 255)
    larger = np.asarray(upscale_image(Repeat(), Image.fromarray(pixels)))
    assert (larger[..., 3] == pixels[..., 3].repeat(2, 0).repeat(2, 1)).all()
    assert (larger[16:44, 16:44, :3] == (255, 0, 0)).all()
    assert (larger[-1, -1, :3] == 255).all()


def test_pixels_that_are_no_levels() -> None:
    with pytest.raises(PictureError, match="floating-point"):
        upscale_image(Repeat(), Image.new("F", (4, 4)))
    with pytest.raises(PictureError, match="16 bits"):
        upscale_image(Repeat(), Image.new("I", (4, 4), 70_000))


def test_a_latent_outlives_a_lack_of_memory() -> None:
    class Greedy(Repeat):
        def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(DecodeMemoryError, match=r"4x4 px 2 times.*sanakit decode kept\.safetensors"):
        enlarge(Greedy(), Image.new("RGB", (4, 4)), lambda: Path("kept.safetensors"))
