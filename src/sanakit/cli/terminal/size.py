"""``--size WIDTHxHEIGHT``"""

from __future__ import annotations

import re

from sanakit.common.errors import RequestError


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """``"640x480"`` to ``(width, height)``; None, the model's own size, to ``(None, None)``.

    Raises:
        RequestError: it is not two whole numbers; whether the model can make that size is not checked here.
    """
    if text is None:
        return None, None
    match = re.fullmatch(r"\s*(\d{1,9})\s*[xX×]\s*(\d{1,9})\s*", text)
    if match is None:
        raise RequestError(f"--size {text} is not a size; write WIDTHxHEIGHT in pixels, such as 128x128")
    return int(match[1]), int(match[2])
