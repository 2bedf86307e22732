from __future__ import annotations

import pytest

from sanakit.cli.terminal.console import readable_seconds


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
