"""Simple backgrounds: plain, or drawn with a few shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw

from sanakit.worlds.scenes.vocabulary import PLAIN_BACKGROUNDS, Rgb

_OVERSAMPLING = 4  # backgrounds are drawn larger and reduced: Pillow's drawing has hard edges

# Fixed places of the stars at night, as fractions of the canvas: (x, y, radius).
_STARS = (
    (0.07, 0.10, 0.008), (0.22, 0.05, 0.006), (0.41, 0.12, 0.007), (0.63, 0.06, 0.008), (0.80, 0.13, 0.006),
    (0.94, 0.08, 0.008), (0.05, 0.38, 0.006), (0.95, 0.41, 0.007), (0.04, 0.70, 0.007), (0.96, 0.74, 0.006),
    (0.13, 0.92, 0.006), (0.37, 0.95, 0.007), (0.61, 0.93, 0.006), (0.86, 0.94, 0.008), (0.50, 0.03, 0.005),
)  # fmt: skip
_HORIZON = 0.60  # share of the height above the grass, the snow or the sand
# From top to bottom: where each band of colour ends, as a share of the height.
_BANDS: Mapping[str, Sequence[tuple[float, Rgb]]] = {
    "night": ((1.0, (30, 36, 92)),),
    "grass": ((_HORIZON, (170, 218, 250)), (1.0, (136, 204, 84))),
    "beach": ((0.42, (178, 226, 252)), (_HORIZON, (62, 156, 220)), (1.0, (244, 222, 166))),
    "snow": ((_HORIZON, (160, 190, 220)), (1.0, (246, 250, 254))),
}


@lru_cache(maxsize=64)
def background_image(name: str, size: int) -> Image.Image:
    """A plain or simple background; shared, so copy it before drawing."""
    if name in PLAIN_BACKGROUNDS:
        return Image.new("RGB", (size, size), PLAIN_BACKGROUNDS[name])
    large, top = size * _OVERSAMPLING, 0
    image = Image.new("RGB", (large, large))
    draw = ImageDraw.Draw(image)
    for end, colour in _BANDS[name]:
        bottom = round(end * large)
        draw.rectangle((0, top, large, bottom), fill=colour)
        top = bottom
    for x, y, radius in _STARS if name == "night" else ():
        box = tuple(large * edge for edge in (x - radius, y - radius, x + radius, y + radius))
        draw.ellipse(box, fill=(240, 236, 200))
    return image.resize((size, size), Image.Resampling.BOX)
