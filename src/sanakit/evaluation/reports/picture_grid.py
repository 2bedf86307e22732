"""Many pictures on one sheet, each with its label."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from sanakit.common.pixels import Picture

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

# For what Pillow's own font has no signs of; they are looked for where the system keeps its fonts.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "msyh.ttc", "malgun.ttf", "PingFang.ttc",
    "AppleSDGothicNeo.ttc", "NotoEmoji-Regular.ttf", "Symbola_hint.ttf", "Symbola.ttf", "seguiemj.ttf",
)  # fmt: skip
_SIZE = 10  # of Pillow's own
_NO_SIGN = "\uffff"  # of which every font draws what it draws of signs that it lacks


def picture_grid(
    pictures: Sequence[Picture],
    labels: Sequence[str],
    *,
    columns: int = 6,
    label_height: int = 30,
    in_english: Sequence[str] | None = None,
) -> Image.Image:
    """Pictures of one size in rows, with their labels below.

    Args:
        in_english: what labels of other writings say, for those that no font of this system draws.
    """
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + 8) + 8, rows * (height + label_height + 8) + 8), "#d8d8d8")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, label, english) in enumerate(
        zip(pictures, labels, in_english or [""] * len(labels), strict=True)
    ):
        x, y = 8 + index % columns * (width + 8), 8 + index // columns * (height + label_height + 8)
        sheet.paste(Image.fromarray(picture), (x, y))
        text, font = _drawable(label, english)
        draw.multiline_text((x, y + height + 2), _wrapped(text, width // 6), fill="black", font=font, spacing=1)
    return sheet


def _drawable(label: str, english: str) -> tuple[str, Font]:
    """A label and a font with all its signs; where there is none what it says in English, else the names of signs."""
    own = ImageFont.load_default()
    if all(_has(own, sign) for sign in label):
        return label, own
    for name in _SYSTEM_FONTS:
        font = _system_font(name)
        if font is not None and all(_has(font, sign) for sign in label):
            return label, font
    return english or "".join(sign if _has(own, sign) else _name(sign, own) for sign in label), own


@cache
def _system_font(name: str) -> Font | None:
    try:
        return ImageFont.truetype(name, _SIZE)
    except OSError:
        return None


def _has(font: Font, sign: str) -> bool:
    return sign.isspace() or bytes(font.getmask(sign)) != bytes(font.getmask(_NO_SIGN))


def _name(sign: str, font: Font) -> str:
    """``e`` of a letter with an accent, ``[red apple]`` of an emoji, ``[82F9]`` of what has no short name; nothing of
    what only changes the sign before."""
    plain = unicodedata.normalize("NFKD", sign)[0]
    if plain != sign and _has(font, plain):
        return plain
    match unicodedata.category(sign)[0]:
        case "M" | "C":
            return ""
        case "S":
            return f"[{unicodedata.name(sign, f'{ord(sign):X}').lower()}]"
    return f"[{ord(sign):X}]"


def _wrapped(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines[:2])
