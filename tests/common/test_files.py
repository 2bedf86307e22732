"""Nothing is half-written: an error, a second process and an existing target leave things as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sanakit.common.errors import OutputError, RequestError
from sanakit.common.files import NotNeededError, put_in_place, remove_stale, write_json, write_whole, written_aside


def test_an_existing_target_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RequestError, match="exists already"), written_aside(target, force=False):
        pass
    with written_aside(target) as path:
        path.mkdir()
        (path / "new").touch()
    assert [item.name for item in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_inside_keeps_the_old_and_passes_on(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with pytest.raises(ZeroDivisionError), written_aside(tmp_path / "f") as path:
        path.write_text(f"half {1 / 0}")
    assert (tmp_path / "f").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"), written_aside(tmp_path / "file" / "model"):
        pass


@pytest.mark.parametrize("locked", [True, False])
def test_a_file_may_turn_out_not_to_be_needed(tmp_path: Path, locked: bool) -> None:
    with written_aside(tmp_path / "f", locked=locked) as path:
        path.write_text("new")
        raise NotNeededError
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_into_one_file(tmp_path: Path) -> None:
    with written_aside(tmp_path / "a.tar", locked=True, sync=True) as first:
        first.write_bytes(b"first")
        with (
            pytest.raises(OutputError, match="another process is writing"),
            written_aside(tmp_path / "a.tar", locked=True),
        ):
            pass
        with first.open("ab") as file:
            file.write(b" alone")
    assert (tmp_path / "a.tar").read_bytes() == b"first alone"
    (tmp_path / ".a.tar.part").write_bytes(b"left by a killed process")
    write_whole(tmp_path / "a.tar", b"x", locked=True)
    assert (tmp_path / "a.tar").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_without_a_lock_the_last_one_counts(tmp_path: Path) -> None:
    with written_aside(tmp_path / "f") as first:
        first.write_text("first")
        write_whole(tmp_path / "f", "ä second")
    assert (tmp_path / "f").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_file_has_the_rights_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for locked in (True, False):
            write_whole(tmp_path / "f", b"", locked=locked)
            assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_file_inside_that_cannot_be_written_is_told_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match="/model could not be written"), written_aside(tmp_path / "model") as folder:
        write_json(folder / "a.json" / ("x" * 300), {})
    with written_aside(tmp_path / "model", sync=True) as folder:
        write_json(folder / "sub" / "a.json", {"ä": 1})
    assert (tmp_path / "model" / "sub" / "a.json").read_text(encoding="utf-8") == '{\n  "ä": 1\n}\n'


def test_a_folder_is_put_back_when_the_new_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "missing", tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_was_left_is_removed_after_a_day(tmp_path: Path) -> None:
    for name in (".a.part", ".b.part", "c.part"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".a.part", (0, 0))
    os.utime(tmp_path / "c.part", (0, 0))
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.part", "c.part"]
