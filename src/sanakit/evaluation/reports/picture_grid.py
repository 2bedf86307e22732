"""Many pictures on one sheet, each with its label."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from sanakit.common.pixels import Picture


def picture_grid(
    pictures: Sequence[Picture], labels: Sequence[str], *, columns: int = 6, label_height: int = 30
) -> Image.Image:
    """Pictures of one size in rows, with their labels below."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + 8) + 8, rows * (height + label_height + 8) + 8), "#d8d8d8")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = 8 + index % columns * (width + 8), 8 + index // columns * (height + label_height + 8)
        sheet.paste(Image.fromarray(picture), (x, y))
        draw.multiline_text((x, y + height + 2), _wrapped(label, width // 6), fill="black", spacing=1)
    return sheet


def _wrapped(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines[:2])
