"""Folders of the cache: made once, checked when used, made again where damaged."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sanakit.common.errors import DownloadError
from sanakit.common.fetching import made_once as module
from sanakit.common.fetching.made_once import fault_of, made_once, seal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "things" / "one"


def make(building: Path) -> None:
    (building / "inner").mkdir()
    (building / "inner" / "weights").write_bytes(b"0" * 1000)
    (building / "words.json").write_text("{}")
    seal(building, {"source": "here"})


def never(building: Path) -> None:
    pytest.fail("it was made again")


def test_it_is_made_once(folder: Path) -> None:
    assert fault_of(folder) == "it is not there"
    assert made_once(folder, make) == folder
    (folder / "inner" / ".DS_Store").write_bytes(b"")
    assert made_once(folder, never) == folder
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    content = json.loads((folder / "source.json").read_text())
    assert content["source"] == "here"
    assert set(content["sha256"]) == {"inner/weights", "words.json"}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda folder: (folder / "inner/weights").write_bytes(b"0" * 999 + b"1"), "inner/weights is not as it was"),
        (lambda folder: (folder / "inner/weights").write_bytes(b"0" * 500), "inner/weights is not as it was"),
        (lambda folder: (folder / "words.json").unlink(), "words.json is missing"),
        (lambda folder: (folder / "inner/added_tokens.json").write_text("{}"), "inner/added_tokens.json is no part"),
        (lambda folder: (folder / "model.py").symlink_to("/nowhere"), "model.py is no part"),
        (lambda folder: (folder / "source.json").unlink(), "source.json is missing"),
        (lambda folder: (folder / "source.json").write_text("[]"), "source.json cannot be read"),
        (lambda folder: (folder / "source.json").write_text('{"sha2'), "source.json cannot be read"),
        (lambda folder: (folder / "source.json").write_text("{}"), "source.json names no file"),
        (
            lambda folder: (folder / "source.json").write_text('{"source": "", "sha256": {}}'),
            "source.json names no file",
        ),
    ],
)
def test_damage_is_told_and_mended(
    folder: Path, damage: Callable[[Path], object], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    made_once(folder, make)
    damage(folder)
    assert fault in str(fault_of(folder))

    def unreachable(building: Path) -> None:
        raise DownloadError("no network")

    with pytest.raises(DownloadError, match=rf"one is not as it was made \({fault}.*\), and could not .*: no network$"):
        made_once(folder, unreachable)
    caplog.clear()
    made_once(folder, make)
    assert f"({fault}" in caplog.text
    assert fault_of(folder) is None


def test_damage_of_a_large_file_shows_though_its_digest_is_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGE", 100)
    made_once(folder, make)
    weights = folder / "inner" / "weights"
    os.utime(weights, (time.time() - 100,) * 2)
    monkeypatch.setattr("sanakit.common.user_cache._SETTLED_SECONDS", 0.0)
    assert fault_of(folder) is None
    monkeypatch.setattr(module, "file_digest", lambda path: pytest.fail("it was read again") if path == weights else "")
    with pytest.raises(AssertionError):
        assert fault_of(folder) is None  # only the small one was read
    monkeypatch.undo()
    with weights.open("r+b") as file:
        file.write(b"1")
    os.utime(weights, (time.time() - 100,) * 2)
    assert "weights is not as it was written" in str(fault_of(folder))


def test_folders_from_before_are_known_or_believed(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"abc")
    (folder / "source.json").write_text('{"source": "a wheel"}')
    right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fault_of(folder, {"a wheel": {"weights": right}}) is None
    assert fault_of(folder, {"a wheel": {"weights": right[::-1]}}) == "weights is not as it was written"
    assert fault_of(folder, {"another": {"weights": right[::-1]}}) is None
    assert fault_of(folder) is None


def test_what_a_killed_process_left_is_removed(folder: Path) -> None:
    half = folder.parent / ".one.abc123.part"
    (half / "one").mkdir(parents=True)
    (folder.parent / ".other.abc123.part").mkdir()  # another's, and fresh
    made_once(folder, make)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".other.abc123.part", "one"]


def test_one_makes_it_and_the_others_wait(folder: Path) -> None:
    made = []

    def slowly(building: Path) -> None:
        made.append(building)
        time.sleep(0.2)
        make(building)

    threads = [threading.Thread(target=made_once, args=(folder, slowly)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert fault_of(folder) is None
