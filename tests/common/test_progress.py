"""What is computed beside other work."""

from __future__ import annotations

import threading

import pytest

from sanakit.common.progress import Meanwhile


def test_the_value_or_the_error_comes_when_it_is_asked_for() -> None:
    begin = threading.Event()
    beside = Meanwhile(lambda: (begin.wait(10), threading.current_thread().daemon))
    begin.set()
    assert beside.result() == beside.result() == (True, True)
    with pytest.raises(ZeroDivisionError):
        Meanwhile(lambda: 1 // 0).result()
