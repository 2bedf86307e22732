"""What was found out is remembered for the next time, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sanakit.common.user_cache import cached_facts, content_facts, file_stamp, recall, remember, user_cache_folder


def test_facts_come_back_and_damaged_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    place = cached_facts("shards", tmp_path / "a.tar")
    assert place.parent == tmp_path / "cache" / "shards"
    assert place != cached_facts("shards", tmp_path / "b.tar")
    assert recall(place) is None
    remember(place, {"name": "\udcff.png"})
    assert recall(place) == {"name": "\udcff.png"}
    place.write_text('{"half')
    assert recall(place) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remember(tmp_path / "file" / "facts.json", [])
    assert recall(tmp_path / "file" / "facts.json") is None


def test_tests_do_not_write_into_the_users_cache() -> None:
    assert Path("~/.cache").expanduser() not in user_cache_folder().parents
    assert user_cache_folder().name.startswith("sanakit-tests-")


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    monkeypatch.setenv("SANAKIT_CACHE", "~/own")
    assert user_cache_folder() == Path("/home/ann/own")
    monkeypatch.setenv("SANAKIT_CACHE", "")
    assert user_cache_folder() == Path("/fast/sanakit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache_folder() == Path("/home/ann/.cache/sanakit")


def test_a_file_is_stamped_two_seconds_after_its_last_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "a").write_bytes(b"abc")
    facts = file.stat()
    assert file_stamp(tmp_path / "b") is None
    for seconds, is_stamped in ((0.0, False), (1.9, False), (2.1, True)):
        monkeypatch.setattr("time.time", lambda seconds=seconds: facts.st_ctime + seconds)
        assert (file_stamp(file) is not None) is is_stamped
    assert file_stamp(file) != file_stamp(file, "0:512")
    assert content_facts(facts) == (3, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    os.utime(file, (0, 0))  # an old date is no old file
    monkeypatch.setattr("time.time", lambda: file.stat().st_ctime + 1)
    assert file_stamp(file) is None
