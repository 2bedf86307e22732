"""What was found out is remembered for the next time, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanakit.common.user_cache import cached_facts, recall, remember, user_cache_folder


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
