"""Numbers of bytes as people write and read them."""

from __future__ import annotations

import re

from sanakit.common.errors import RequestError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str) -> int:
    """``24GB``, ``23.5 GiB``, ``800M`` or plain bytes.

    Raises:
        RequestError: it is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text, flags=re.IGNORECASE)
    if match is None or match[2].lower() not in _UNITS or not float(match[1]):
        raise RequestError(f"{text!r} is no size of a memory; write it like 24GB or 800MiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def readable_bytes(number: float, *, decimals: int | None = None) -> str:
    """``1.5 GB`` in powers of ten; with so many decimals, or with three digits at most."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 999.5 or unit == "TB":
            break
        number /= 1000
    if decimals is None:
        decimals = 0 if number >= 9.95 else 1
    return f"{number:.{0 if unit == 'B' else decimals}f} {unit}"
