"""A tilde is a home folder, and only where it can be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sanakit.common.paths import as_path, as_there, composed, is_medium_name, is_visible, shared_name, walk


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert as_path("~/photos") == as_path(Path("~") / "photos") == Path("/home/ann/photos")
    assert as_path("~nobody-at-all/x") == Path("~nobody-at-all/x")  # pathlib's own raises RuntimeError
    assert as_path("a/~/b") == Path("a/~/b")


def test_names_of_pictures() -> None:
    assert [is_medium_name(name) for name in (" a.PNG ", "b/c.jpe", "d.heic", "e.MP4", "e.txt", "png", "a kite.")] == [
        True, True, True, True, False, False, False,
    ]  # fmt: skip
    assert [is_visible(name) for name in ("a", ".a", "__MACOSX", "_a")] == [True, False, False, True]
    assert composed("e\u0301") == "\u00e9"


def test_the_last_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert [shared_name(path) for path in (".", "../b/", tmp_path / "c" / "d")] == ["photos", "b", "d"]


def test_a_name_is_found_in_the_form_that_the_disk_has(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9").touch()
    (tmp_path / "the\u0301").touch()
    assert as_there(tmp_path / "cafe\u0301") == tmp_path / "caf\u00e9"
    assert as_there(tmp_path / "th\u00e9") == tmp_path / "the\u0301"
    assert as_there(tmp_path / "caf\u00e9") == tmp_path / "caf\u00e9"
    assert as_there(tmp_path / "mate\u0301") == tmp_path / "mate\u0301"


def test_folders_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.png").touch()
    real = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    told: list[tuple[Path, str]] = []
    assert list(walk(tmp_path, lambda *fault: told.append(fault))) == [tmp_path / "a.png"]
    assert told == [(tmp_path / "locked", "the folder cannot be read: Permission denied")]
