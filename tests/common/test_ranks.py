"""Variables of a launcher, and processes that do not come."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time

import pytest

from sanakit.common import ranks
from sanakit.common.errors import RequestError
from sanakit.common.ranks import ALONE, LostProcessError, process_group


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A pod of two, of which this is the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    return monkeypatch


@pytest.mark.parametrize(("rank", "other"), [("0", "process 1"), ("1", "process 0")])
def test_who_is_waited_for_is_said_and_the_waiting_ends(
    launched: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rank: str, other: str
) -> None:
    launched.setenv("RANK", rank)
    launched.setattr(ranks, "_SOON", 0.0)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(LostProcessError, match=f"^{other} did not come to 127.*within 0 s: WORLD_SIZE=2.*unset"),
        process_group(patience=0.3),
    ):
        pass
    assert caplog.text.count(f"process {rank} waits for {other} at 127.0.0.1:") == 1


def test_a_name_that_nobody_knows_is_waited_for_too(launched: pytest.MonkeyPatch) -> None:
    launched.setenv("MASTER_ADDR", "pod-0.invalid")
    for rank in ("0", "1"):
        launched.setenv("RANK", rank)
        with pytest.raises(LostProcessError, match=r"to pod-0\.invalid:\d+ within 0 s"), process_group(patience=0.2):
            pass


def test_ctrl_c_is_heard_while_it_waits(launched: pytest.MonkeyPatch) -> None:
    start, before = time.monotonic(), signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt), process_group(patience=60):
            pass
    finally:
        signal.signal(signal.SIGINT, before)  # a shell lets what runs in its background ignore it
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANK", None, "RANK not set"),
        ("MASTER_PORT", "", "MASTER_PORT not set"),
        ("WORLD_SIZE", "two", "'two' must be a whole number"),
        ("WORLD_SIZE", "0", "'0' must be a whole number"),
        ("RANK", "2", "RANK=2 is none of the 2 processes"),
        ("RANK", "-1", "'-1' must be"),
    ],
)
def test_variables_that_do_not_fit_together(
    launched: pytest.MonkeyPatch, name: str, value: str | None, message: str
) -> None:
    if value is None:
        launched.delenv(name)
    else:
        launched.setenv(name, value)
    with pytest.raises(RequestError, match=message), process_group():
        pass


def test_a_place_that_is_taken(launched: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        launched.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(RequestError, match=r"processes cannot meet at 127\.0\.0\.1"), process_group():
            pass


def test_a_rank_alone_is_no_launcher(launched: pytest.MonkeyPatch) -> None:
    launched.delenv("WORLD_SIZE")
    launched.setenv("RANK", "3")
    with process_group() as found:
        assert found == ALONE


@pytest.mark.parametrize(
    ("world", "others"),
    [
        ("3", "process 1, 2 did"),
        ("9", "process 1, 2, 3, 4, 5, 6, 7, 8 did"),
        ("10", r"process 1, 2, .*, 8 and others did"),
    ],
)
def test_of_many_that_are_missing_eight_are_named(launched: pytest.MonkeyPatch, world: str, others: str) -> None:
    launched.setenv("WORLD_SIZE", world)
    with (
        pytest.raises(LostProcessError, match=f"^{others} not come .* says that {world} processes"),
        process_group(patience=0.1),
    ):
        pass


def test_five_minutes_are_waited() -> None:
    assert ranks.PATIENCE == 300


@pytest.mark.parametrize(("local", "number"), [("3", 3), (None, 0)])
def test_each_process_has_the_accelerator_of_its_number(
    launched: pytest.MonkeyPatch, local: str | None, number: int
) -> None:
    chosen: list[int] = []
    launched.setattr("torch.cuda.is_available", lambda: True)
    launched.setattr("torch.cuda.set_device", chosen.append)
    launched.delenv("LOCAL_RANK", raising=False)
    if local is not None:
        launched.setenv("LOCAL_RANK", local)
    with pytest.raises(LostProcessError), process_group(patience=0.1):
        pass
    assert chosen == [number]
