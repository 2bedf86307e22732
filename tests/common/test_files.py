"""Nothing is half-written: an error, a second process and an existing target leave things as they were."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sanakit.common.errors import OutputError, RequestError
from sanakit.common.files import (
    NotNeededError,
    check_free,
    copy_folder,
    is_aside,
    json_text,
    lock,
    put_in_place,
    remove_stale,
    write_json,
    write_new,
    write_whole,
    written_aside,
)


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


def test_what_another_process_has_written_meanwhile_is_kept_and_so_is_the_finished_folder(tmp_path: Path) -> None:
    target, file = tmp_path / "model", tmp_path / "model.pth"

    def write_second() -> None:
        with written_aside(target, force=False) as building:
            building.mkdir()
            (building / "second").touch()
            target.mkdir()
            (target / "first").touch()

    def write_second_file() -> None:
        with written_aside(file, force=False) as building:
            building.write_text("second")
            file.write_text("first")

    with pytest.raises(OutputError, match=r"exists already.* lies in .*model-2"):
        write_second()
    assert [path.name for path in target.iterdir()] == ["first"]
    assert [path.name for path in (tmp_path / "model-2").iterdir()] == ["second"]
    with pytest.raises(RequestError, match="exists already"):
        write_second_file()
    assert file.read_text() == "first"


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    """As ``--output /dev/stdout`` means, also for a user who could replace it."""
    os.mkfifo(pipe := tmp_path / "pipe")
    (link := tmp_path / "stdout").symlink_to(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        for place in (pipe, link):
            write_whole(place, "a report")
            assert reader.read(100) == b"a report"
    assert (pipe.is_fifo(), link.is_symlink()) == (True, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "stdout"]


def test_a_file_that_is_mounted_by_itself_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    (file := tmp_path / "report.json").write_text("an old and longer report")
    place = file.stat().st_ino
    monkeypatch.setattr(os, "replace", busy)
    write_whole(file, "new")
    assert (file.read_text(), file.stat().st_ino) == ("new", place)


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


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_what_others_write_has_the_rights_that_the_user_wants_too(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with written_aside(tmp_path / "model") as building:
            building.mkdir(mode=0o700)
            save_file({"a": torch.zeros(1)}, building / "a.safetensors")
            (building / "open").touch()
            (building / "open").chmod(0o777)
            (building / "inner").mkdir()
    finally:
        os.umask(before)
    for path in [tmp_path / "model", *(tmp_path / "model").iterdir()]:
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_a_share_that_takes_no_rights_and_does_not_sync_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def sync_nothing(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fsync", sync_nothing)
    (tmp_path / "old").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "old" / "a.safetensors")
    with written_aside(tmp_path / "model", sync=True) as building:
        copy_folder(tmp_path / "old", building)
    assert load_file(tmp_path / "model" / "a.safetensors").keys() == {"a"}


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    (target := tmp_path / "model").mkdir()
    (target / "lost+found").mkdir()  # as on a new disk
    with written_aside(target, force=False) as building:
        building.mkdir()
        (building / "a").touch()
    assert (target / "a").is_file()
    (tmp_path / "dangling").symlink_to("nowhere")
    for taken in (target, tmp_path / "dangling"):
        with pytest.raises(RequestError, match="exists already"):
            check_free(taken)


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "model").mkdir(parents=True)
    (tmp_path / "model").symlink_to("disk/model")
    with written_aside(tmp_path / "model") as building:
        building.mkdir()
        (building / "a").touch()
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "disk" / "model" / "a").is_file()


def _model(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{folder.name} {name}")
    return folder


def _contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _fail(monkeypatch: pytest.MonkeyPatch, function: str, code: int, when: Callable[[Path, Path], bool]) -> None:
    real: Callable[[Any, Any], None] = getattr(os, function)

    def failing(source: Any, target: Any) -> None:
        if when(Path(source), Path(target)):
            raise OSError(code, os.strerror(code))
        real(source, target)

    monkeypatch.setattr(os, function, failing)


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV])
def test_a_folder_that_cannot_be_renamed_is_filled_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A mount point is busy, a folder of an image's layer lies on another device."""
    target = _model(tmp_path / "volume", "a", "vae/old", "text/gone")
    (target / "lost+found").mkdir()
    _fail(monkeypatch, "rename", code, lambda source, _: source == target)
    _fail(
        monkeypatch,
        "replace",
        errno.EXDEV,
        lambda *ends: ends[0].is_relative_to(target) != ends[1].is_relative_to(target),
    )
    with written_aside(target) as building:
        _model(building, "a", "vae/new")
    assert _contents(target) == {"a": "volume a", "vae/new": "volume vae/new"}
    assert sorted(path.name for path in target.iterdir()) == ["a", "lost+found", "vae"]
    assert [path.name for path in tmp_path.iterdir()] == ["volume"]


def test_a_folder_on_a_volume_is_as_it_was_when_a_file_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = _model(tmp_path / "volume", "a", "vae/old")
    before = _contents(target)
    _fail(monkeypatch, "rename", errno.EBUSY, lambda source, _: source == target)
    _fail(monkeypatch, "replace", errno.ENOSPC, lambda _, goal: goal == target / "vae" / "new")
    told = r"volume could not be replaced \(No space.* lies in .*volume-2"
    with pytest.raises(OutputError, match=told), written_aside(target) as building:
        _model(building, "a", "vae/new")
    assert _contents(target) == before
    assert _contents(tmp_path / "volume-2").keys() == {"a", "vae/new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["volume", "volume-2"]


@pytest.mark.parametrize("fails_again", [False, True])
def test_a_failing_second_rename_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_again: bool
) -> None:
    target = _model(tmp_path / "model", "old")
    _fail(monkeypatch, "rename", errno.EIO, lambda _, goal: goal == target)
    _fail(monkeypatch, "replace", errno.EIO, lambda _, goal: fails_again and goal == target)
    told = r"model could not be replaced \(.*new one is finished and lies in .*model-2"
    with pytest.raises(OutputError, match=told), written_aside(target) as building:
        _model(building, "new")
    assert _contents(tmp_path / "model-2") == {"new": "model new"}
    olds = [path for path in tmp_path.rglob("old") if path.is_file()]
    assert [old.read_text() for old in olds] == ["model old"]
    assert (olds[0].parent == target) is not fails_again


def test_a_parent_that_takes_no_files_is_not_needed_where_the_folder_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume in a container whose root cannot be written."""
    target, make = _model(tmp_path / "volume", "old"), tempfile.mkdtemp

    def mkdtemp(*, prefix: str, suffix: str, dir: Path) -> str:
        if dir == tmp_path:
            raise OSError(errno.EROFS, "Read-only file system")
        return make(prefix=prefix, suffix=suffix, dir=dir)

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    with written_aside(target) as building:
        _model(building, "new")
    assert _contents(target) == {"new": "volume new"}


@pytest.mark.parametrize("has_links", [True, False])
def test_many_writers_into_one_folder_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:  # FAT, some shares
        monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a.png").symlink_to(tmp_path / "elsewhere")  # taken as well

    def write(number: int) -> Path:
        return write_new(tmp_path / "a.png", lambda path: path.write_text(str(number)))

    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(write, range(40)))
    assert [path.read_text() for path in paths] == [str(number) for number in range(40)]
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", *(f"a-{number}.png" for number in range(2, 42))}


def test_names_that_are_not_utf8_are_written_as_json_has_them(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"file": "caf\udce9.png", "ü": "\ud83d"})
    assert json.loads((tmp_path / "a.json").read_bytes().decode("utf-8")) == {"file": "caf\udce9.png", "ü": "\ud83d"}
    write_whole(tmp_path / "a.txt", "caf\udce9")
    assert (tmp_path / "a.txt").read_bytes() == b"caf\\udce9"


def test_a_file_that_cannot_be_renamed_is_kept_beside_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "picture.png"
    target.write_text("old")
    _fail(monkeypatch, "replace", errno.EIO, lambda _, goal: goal == target)
    with pytest.raises(OutputError, match=r"picture\.png could not be written \(.*"):
        write_whole(target, "new")
    assert target.read_text() == "old"


def test_a_day_is_a_day(tmp_path: Path) -> None:
    (tmp_path / ".old.part" / "inner").mkdir(parents=True)
    (tmp_path / ".young.part").mkdir()
    for name, age in ((".old.part", 86_460), (".young.part", 86_340)):
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".young.part"]


def test_what_is_no_number_is_null_in_json() -> None:
    assert json_text({"a": float("nan"), "b": [1, 0.5, float("inf"), (-float("inf"),)], "c": "x"}) == (
        '{"a": null, "b": [1, 0.5, null, [null]], "c": "x"}'
    )


def test_what_makes_a_folder_taken(tmp_path: Path) -> None:
    for name in (".a.part", ".DS_Store"):
        (tmp_path / name).touch()
    check_free(tmp_path)
    (tmp_path / ".a").touch()
    assert [is_aside(Path(name)) for name in (".a.part", ".a", "a.part")] == [True, False, False]
    with pytest.raises(RequestError, match="exists already"):
        check_free(tmp_path)


def test_long_names_have_room_aside(tmp_path: Path) -> None:
    for locked, length in ((False, 250), (True, 240)):
        write_whole(tmp_path / ("x" * length), b"", locked=locked)
    assert sorted(len(path.name) for path in tmp_path.iterdir()) == [240, 250]


def test_a_finished_folder_gets_the_next_free_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = _model(tmp_path / "model", "old")
    _model(tmp_path / "model-2", "other")
    _fail(monkeypatch, "rename", errno.EIO, lambda _, goal: goal == target)
    with pytest.raises(OutputError, match=r"lies in .*model-3$"), written_aside(target) as building:
        _model(building, "new")
    assert _contents(tmp_path / "model-2") == {"other": "model-2 other"}


@pytest.mark.parametrize("words", ["SafetensorError: No space left (os error 28)", "inline_container.cc:664"])
def test_other_libraries_words_for_a_disk_are_told_as_one(tmp_path: Path, words: str) -> None:
    with (
        pytest.raises(OutputError, match=r"could not be written \(.*; is the disk full\?\)"),
        written_aside(tmp_path / "a"),
    ):
        raise RuntimeError(f"{words}\nframe #0")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_of_the_file_that_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    (place := tmp_path / "a").touch()
    (tmp_path / "b").touch()
    with place.open("rb") as file, place.open("rb") as second:
        assert not lock(file, tmp_path / "b")
        assert not lock(file, tmp_path / "gone")
        assert lock(file, place)
        assert not lock(second, place)

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
        assert lock(second, place)
