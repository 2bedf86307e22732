"""Numbers of bytes in words and back."""

from __future__ import annotations

import pytest

from sanakit.common.byte_counts import parse_bytes, readable_bytes
from sanakit.common.errors import RequestError


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
def test_bytes_in_three_digits(number: float, text: str) -> None:
    assert readable_bytes(number) == text


def test_bytes_with_decimals() -> None:
    assert readable_bytes(23.46e9, decimals=1) == "23.5 GB"
    assert readable_bytes(12, decimals=1) == "12 B"


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GB", 24 * 10**9), ("24", 24), (" 1.5 GiB ", 3 * 2**29), ("800m", 8 * 10**8), ("2TB", 2 * 10**12)],
)
def test_sizes_of_a_memory(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "0GB", "-1GB", "24 apples", "1e3", "i", "3i"])
def test_words_that_are_no_size(text: str) -> None:
    with pytest.raises(RequestError, match="like 24GB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (999.4, "999 B"),
        (999.5, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
    ],
)
def test_where_digits_and_units_change(number: float, text: str) -> None:
    assert readable_bytes(number) == text


def test_every_unit() -> None:
    assert [parse_bytes(f"2{unit}B") for unit in "kMGT"] == [2 * 1000**power for power in (1, 2, 3, 4)]
    assert [parse_bytes(f"2{unit}iB") for unit in "kMGT"] == [2 * 1024**power for power in (1, 2, 3, 4)]
