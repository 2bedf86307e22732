from __future__ import annotations

import pytest

from sanakit.cli.terminal.console import readable_bytes, readable_seconds


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_990_000, "10 MB"),
        (269e6, "269 MB"),
        (1.23e9, "1.2 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_bytes(number: float, text: str) -> None:
    assert readable_bytes(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (185, "3 min 5 s"),
        (9600, "2 h 40 min"),
        (366000, "4 days"),
        (float("inf"), "?"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text
