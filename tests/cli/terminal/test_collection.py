"""Pausing the search for cycles at the start of a process: it ends, and a process that has begun is left alone."""

from __future__ import annotations

import gc
import sys

import pytest

from sanakit.cli.terminal.collection import collecting_as_before, pause_collection


def test_is_paused_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # what other tests made may be looked at again
    end = pause_collection()
    assert not gc.isenabled()
    pause_collection()()  # of somebody who begins later, and does not end what is another's
    assert not gc.isenabled()
    end()
    assert gc.isenabled()
    with collecting_as_before():
        pause_collection()  # and an error comes between
    assert gc.isenabled()


def test_leaves_a_process_that_has_begun_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    pause_collection()
    assert gc.isenabled()
