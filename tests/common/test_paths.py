"""A tilde is a home folder, and only where it can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanakit.common.paths import as_path


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert as_path("~/photos") == as_path(Path("~") / "photos") == Path("/home/ann/photos")
    assert as_path("~nobody-at-all/x") == Path("~nobody-at-all/x")  # pathlib's own raises RuntimeError
    assert as_path("a/~/b") == Path("a/~/b")
