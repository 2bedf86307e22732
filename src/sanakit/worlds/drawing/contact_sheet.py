"""A sheet of pictures with their captions, for a look at what a model is trained on."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_MARGIN = 30  # at both sides of a picture, room for its caption
_CAPTION_HEIGHT = 40  # three lines
_CAPTION_WIDTH = 6  # pixels of one letter of Pillow's built-in font, about


def contact_sheet(samples: Sequence[tuple[NDArray[np.uint8], str]], *, columns: int = 8) -> Image.Image:
    """Lay out (picture ``(H, W, 3)`` uint8, caption) pairs in rows; all pictures have the size of the first."""
    height, width = samples[0][0].shape[:2]
    cell_width, cell_height = width + 2 * _MARGIN, height + _CAPTION_HEIGHT
    rows = -(-len(samples) // columns)
    sheet = Image.new("RGB", (min(columns, len(samples)) * cell_width, rows * cell_height), (215, 215, 215))
    draw = ImageDraw.Draw(sheet)
    for index, (image, text) in enumerate(samples):
        x, y = index % columns * cell_width, index // columns * cell_height
        sheet.paste(Image.fromarray(image), (x + _MARGIN, y + 4))
        lines = textwrap.wrap(text, (cell_width - 6) // _CAPTION_WIDTH)
        draw.multiline_text((x + 3, y + height + 5), "\n".join(lines), fill="black", spacing=1)
    return sheet
