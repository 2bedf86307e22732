"""Every bad sample is named, and threads change nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sanakit.data.ahead import map_ahead
from sanakit.data.open import open_data
from sanakit.data.validation import validate

PictureBytes = Callable[..., bytes]


@pytest.mark.parametrize("num_threads", [1, 5, None])
def test_cut_off_pictures_are_found_by_reading(tmp_path: Path, picture: PictureBytes, num_threads: int | None) -> None:
    for index in range(12):
        content = picture(40, 40, index, "JPEG")
        (tmp_path / f"{index:02d}.jpg").write_bytes(content[: len(content) // 2] if index % 4 == 0 else content)
        (tmp_path / f"{index:02d}.txt").write_text("x" if index != 5 else "")
    source = open_data(tmp_path)
    steps: list[tuple[int, int]] = []
    found = validate(source, num_threads=num_threads, on_progress=lambda done, total, _: steps.append((done, total)))
    assert [(problem.key, problem.reason) for problem in found.problems] == [
        ("00", "undecodable"), ("04", "undecodable"), ("05", "empty_caption"), ("08", "undecodable"),
    ]  # fmt: skip
    assert found.num_good == 8
    assert found.num_by_reason() == {"empty_caption": 1, "undecodable": 3}
    assert steps == [(index, 11) for index in range(1, 12)]


def test_work_ahead_is_in_order_bounded_and_stops_early() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def square(number: int) -> int:
        with lock:
            started.append(number)
        return number * number

    assert list(map_ahead(square, range(50), num_threads=3)) == [number * number for number in range(50)]
    started.clear()
    results = map_ahead(square, range(1000), num_threads=2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= 5


def test_an_error_in_a_thread_reaches_the_reader() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda number: 1 // number, [1, 0, 2]))
