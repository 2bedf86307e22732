"""The size that a prompt may carry at its end, as SANA's own scripts read it: ``a cat --ar 16:9``."""

from __future__ import annotations

import re
from typing import NamedTuple

from sanakit.common.errors import RequestError

_SUFFIX = re.compile(r"\s*--(ar|aspect_ratio|hw)\s+(\S+)\s*$")
_PAIR = re.compile(r"(0*[1-9]\d{0,5}):(0*[1-9]\d{0,5})", re.ASCII)


class SizedPrompt(NamedTuple):
    """A prompt without its suffix, and what the suffix asked for (at most one of the two)."""

    prompt: str
    aspect_ratio: float | None = None  # height / width
    height_width: tuple[int, int] | None = None  # pixels


def split_size_suffix(prompt: str) -> SizedPrompt:
    """Take ``--ar h:w``, ``--aspect_ratio h:w`` or ``--hw h:w`` off the end of a prompt; both orders are height first.

    Raises:
        RequestError: the suffix is there but its value is not two positive whole numbers.
    """
    match = _SUFFIX.search(prompt)
    if match is None:
        return SizedPrompt(prompt.strip())
    name, value = match.groups()
    pair = _PAIR.fullmatch(value)
    if pair is None:
        raise RequestError(f"--{name} {value} at the end of the prompt is not height:width, such as --{name} 3:4")
    height, width, text = int(pair[1]), int(pair[2]), prompt[: match.start()].strip()
    if name == "hw":
        return SizedPrompt(text, height_width=(height, width))
    return SizedPrompt(text, aspect_ratio=height / width)
