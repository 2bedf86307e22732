"""Which size to generate for a requested size, and how to get from one to the other (SANA's resolution binning)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from sanakit.common.aspect_ratio import BASE_SIZES, nearest_bin
from sanakit.common.errors import RequestError
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiTConfig

MAX_ASPECT_RATIO = 4.0  # of the widest bin; beyond it most of a picture would be cropped away
LARGEST = 2  # times the side of a model that a picture of its own may have
MAX_ENLARGEMENT = 2.0  # of what the network made; beyond it the picture is mostly interpolation
MAX_PICTURE_PIXELS = 178_956_970  # of a file that Pillow opens without suspecting an attack
_BINNED_SIZES = tuple(size for size in BASE_SIZES if size >= 512)
_LEAST_GRANULARITY = 32  # pixels


def granularity_of(transformer: LinearDiTConfig | VideoDiTConfig, compression: int) -> int:
    """Both sides of a generated picture are multiples of this many pixels."""
    if isinstance(transformer, VideoDiTConfig):
        return compression * max(transformer.patch_size[1:])
    return max(compression * transformer.patch_size, _LEAST_GRANULARITY)


def generated_size(
    height: int, width: int, base_size: int, granularity: int, *, use_binning: bool = True
) -> tuple[int, int]:
    """Height and width to generate for a requested size, all in pixels.

    Models of 512, 1024, 2048 and 4096 px make the bin nearest in shape, which is then resized and cropped; without
    binning, and for models of other sizes, exactly the requested size is made.

    Args:
        height, width: requested.
        base_size: side of the pictures that the model was trained on.
        granularity: both generated sides are multiples of it.
        use_binning: whether bins may be used.

    Raises:
        RequestError: the model cannot make that size; the message says what would be right.
    """
    if use_binning and base_size in _BINNED_SIZES:
        generated = nearest_bin(height, width, base_size)
        _check_binned(height, width, generated)
        return generated
    _check_exact(height, width, base_size, granularity)
    return height, width


def size_like(height: int, width: int, base_size: int, granularity: int) -> tuple[int, int]:
    """Height and width in pixels that a model makes, in the shape of another picture and of about its own area."""
    if base_size in _BINNED_SIZES:
        return nearest_bin(height, width, base_size)
    lowest, highest = _exact_range(base_size, granularity)
    scale = base_size / math.sqrt(height * width) / granularity
    made_height, made_width = (min(max(round(side * scale) * granularity, lowest), highest) for side in (height, width))
    return made_height, made_width


def size_near(height: int, width: int, base_size: int, granularity: int) -> tuple[int, int]:
    """Height and width in pixels that a model makes, for a picture of any size: its own where that can be."""
    lowest, highest = _exact_range(base_size, granularity)
    can_be = all(side % granularity == 0 and lowest <= side <= highest for side in (height, width))
    if can_be and base_size not in _BINNED_SIZES:
        return height, width
    return size_like(height, width, base_size, granularity)


def size_around(height: int, width: int, base_size: int, granularity: int) -> tuple[int, int]:
    """Both sides rounded up to what a network that works tile by tile can make."""
    lowest, _ = _exact_range(base_size, granularity)
    made_height, made_width = (max(-(-side // granularity) * granularity, lowest) for side in (height, width))
    return made_height, made_width


def resize_and_crop(pixels: Tensor, height: int | None, width: int | None) -> Tensor:
    """``(B, 3, H, W)`` as generated to the requested size: bilinear until it covers the frame, then centre crop.

    On the float pixels, before they are rounded to 8 bits; a side that is ``None`` is as it was generated.
    Source: the resolution binning of SANA's pipelines.
    """
    made_height, made_width = pixels.shape[-2:]
    height, width = height or made_height, width or made_width
    if (made_height, made_width) == (height, width):
        return pixels
    ratio = max(height / made_height, width / made_width)
    # ``max``: the product can round to just below the side that it was derived from.
    resized_height = max(int(made_height * ratio), height)
    resized_width = max(int(made_width * ratio), width)
    pixels = F.interpolate(pixels, (resized_height, resized_width), mode="bilinear", align_corners=False)
    top, left = (resized_height - height) // 2, (resized_width - width) // 2
    return pixels[..., top : top + height, left : left + width]


def check_upscaled_size(height: int, width: int, scale: int) -> None:
    """Refuse an enlarged picture that no reader would open again.

    Raises:
        RequestError: ``scale`` times ``height`` x ``width`` pixels a side is too much.
    """
    if height * width * scale**2 > MAX_PICTURE_PIXELS:
        pixels, most = height * width * scale**2 / 1e6, MAX_PICTURE_PIXELS / 1e6
        smaller = "; 2 times is possible" if scale > 2 and height * width * 4 <= MAX_PICTURE_PIXELS else ""
        raise RequestError(
            f"{width}x{height} enlarged {scale} times has {pixels:.0f} million pixels, and the most that picture files "
            f"are opened with is {most:.0f} million{smaller}"
        )


def _check_binned(height: int, width: int, generated: tuple[int, int]) -> None:
    if max(height / width, width / height) > MAX_ASPECT_RATIO:
        raise RequestError(
            f"a picture of {width}x{height} is too long; the sides may differ by a factor of at most "
            f"{MAX_ASPECT_RATIO:g}, such as {generated[1]}x{generated[0]}."
        )
    if max(height / generated[0], width / generated[1]) > MAX_ENLARGEMENT:
        raise RequestError(
            f"{width}x{height} is more than twice what this model makes; "
            f"ask for at most {2 * generated[1]}x{2 * generated[0]} in this shape."
        )


def _check_exact(height: int, width: int, base_size: int, granularity: int) -> None:
    lowest, highest = _exact_range(base_size, granularity)
    for name, side in (("width", width), ("height", height)):
        if side % granularity or not lowest <= side <= highest:
            nearest = min(max(round(side / granularity) * granularity, lowest), highest)
            raise RequestError(
                f"{name}={side} does not suit this model, which makes multiples of {granularity} "
                f"from {lowest} to {highest} px a side; the nearest is {nearest}."
            )


def _exact_range(base_size: int, granularity: int) -> tuple[int, int]:
    """The shortest and the longest side of a picture that is made as it is asked for."""
    lowest = -(-base_size // 2 // granularity) * granularity or granularity
    return lowest, max(LARGEST * base_size // granularity * granularity, lowest)
