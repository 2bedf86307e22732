"""The one walk of folders: what is found, in which order, and what is told of the rest."""

from __future__ import annotations

import os
from pathlib import Path

from sanakit.common.paths import pictures_below, walk


def test_files_come_by_name_and_hidden_ones_do_not(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    for name in ("z.png", "a.JPE", "note.txt", "b/c.jfif", "b/.d.png", "._a.png", "__MACOSX/e.png"):
        (tmp_path / name).touch()
    (tmp_path / "b" / "around").symlink_to(tmp_path)
    assert [path.name for path in walk(tmp_path)] == ["a.JPE", "note.txt", "z.png", "c.jfif"]
    assert [path.name for path in pictures_below(tmp_path)] == ["a.JPE", "c.jfif", "z.png"]


def test_pipes_are_told_and_links_are_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("nowhere.png")
    (tmp_path / "c.png").symlink_to("c.png")
    (tmp_path / "d.png").symlink_to("/dev/zero")
    told: list[str] = []
    found = [path.name for path in walk(tmp_path, lambda path, fault: told.append(f"{path.name}: {fault}"))]
    assert found == ["b.png", "c.png"]
    assert told == [f"{name}: it is a pipe, a socket or a device, and no file" for name in ("a.png", "d.png")]
