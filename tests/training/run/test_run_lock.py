"""A run is at one place at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sanakit.common.errors import RequestError
from sanakit.training.run.run_lock import only_sitting


def test_the_holder_is_named_and_gone_when_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with only_sitting(folder):
        with pytest.raises(RequestError, match=f"going on already, in process {os.getpid()} on .* since "):
            only_sitting(folder).__enter__()
        with only_sitting(tmp_path / "another"):
            pass
    with only_sitting(folder):
        pass
    with pytest.raises(KeyError), only_sitting(folder):
        raise KeyError
    assert (folder / ".lock").read_bytes() == b""
