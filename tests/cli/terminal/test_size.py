from __future__ import annotations

import pytest

from sanakit.cli.terminal.size import parse_size
from sanakit.common.errors import RequestError


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, (None, None)), ("640x480", (640, 480)), ("640X480", (640, 480)), (" 64 × 32 ", (64, 32)), ("0x0", (0, 0))],
)
def test_width_comes_first(text: str | None, expected: tuple[int | None, int | None]) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["100", "x", "", "-1x5", "1.5x2", "axb", "1x2x3", "9" * 30 + "x1"])
def test_anything_else_is_told_what_a_size_is(text: str) -> None:
    with pytest.raises(RequestError, match="WIDTHxHEIGHT"):
        parse_size(text)
