"""Enlarge a picture of any kind: colour, gray, with alpha, of 8 bits or of 16."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sanakit.common.errors import DecodeMemoryError, PictureError
from sanakit.common.free_memory import is_out_of_memory
from sanakit.common.pixels import spread_visible
from sanakit.common.progress import OnProgress, no_progress
from sanakit.pipelines.decoding.decode import SaveLatent
from sanakit.pipelines.upscaling.tiles import upscale_levels
from sanakit.pipelines.upscaling.upscaler import Upscaler

_GRAY_16 = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_SPREAD_LEVELS = 5  # blocks of up to 32 px, which an upscaler does not see across


def upscale_image(upscaler: Upscaler, image: Image.Image, *, on_progress: OnProgress = no_progress) -> Image.Image:
    """The picture ``upscaler.scale`` times larger a side.

    RGB stays RGB to the pixel of the network; palettes, CMYK and other colour spaces become RGB, black and white
    becomes gray. Gray and alpha go through the network as three equal channels, of 16 bits with all of them. Under
    what is transparent the nearest visible colour is put first, so that no hidden one shows at the edges.

    Raises:
        PictureError: pixels that are no levels, as in a TIFF of floating-point numbers.
    """
    image = in_levels(image)
    match image.mode:
        case "RGB" | "L" | "I;16":
            return Image.fromarray(upscale_levels(upscaler, np.asarray(image), on_progress=on_progress))
        case _:  # LA, RGBA
            colours, alpha = image.convert("RGBA").convert("RGB"), image.getchannel("A")
            shown = spread_visible(np.asarray(colours), np.asarray(alpha) > 0, _SPREAD_LEVELS)
            large = Image.fromarray(upscale_levels(upscaler, shown, on_progress=on_progress))
            large.putalpha(Image.fromarray(upscale_levels(upscaler, np.asarray(alpha), on_progress=on_progress)))
            return large if image.mode == "RGBA" else large.convert("LA")


def enlarge(upscaler: Upscaler, image: Image.Image, save_latent: SaveLatent) -> Image.Image:
    """``upscale_image`` of a picture whose latent must not be lost.

    Raises:
        DecodeMemoryError: memory ran out; the latent was saved, and the message names its file.
    """
    try:
        return upscale_image(upscaler, image)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    raise DecodeMemoryError(
        f"there is not enough free memory to enlarge a picture of {image.width}x{image.height} px {upscaler.scale} "
        f"times; the finished latent is safe, so free some memory and run: sanakit decode {save_latent()}"
    )


def in_levels(image: Image.Image) -> Image.Image:
    """The picture as RGB, RGBA, L, LA or I;16, whichever holds what it has; errors as ``upscale_image``."""
    if image.mode in _GRAY_16:
        return image if image.mode == "I;16" else Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode == "I":
        numbers = np.asarray(image)
        if numbers.min() < 0 or numbers.max() > 65535:
            raise PictureError("its levels do not fit into 16 bits; save it as a picture of 8 or 16 bits")
        return Image.fromarray(numbers.astype(np.uint8 if numbers.max() <= 255 else np.uint16))  # 32 bits say no white
    if image.mode == "F":
        raise PictureError("its pixels are floating-point numbers; save it as a picture of 8 or 16 bits")
    if image.mode in ("RGB", "RGBA", "L", "LA") and "transparency" not in image.info:
        return image
    try:
        if image.has_transparency_data:
            return image.convert("RGBA")
        return image.convert("L" if image.mode == "1" else "RGB")
    except ValueError:
        raise PictureError(f"its kind of pixels ({image.mode}) is not known; save it as RGB") from None
