"""What others are told of where a model came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanakit.checkpoints.sources.origin import SHIPPED, Origin, shipped_folder


def test_a_place_on_this_machine_has_a_name_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "private" / "mine"
    folder.mkdir(parents=True)
    (folder / "a.safetensors").touch()
    monkeypatch.chdir(folder)
    for source in (folder, str(folder) + "/", ".", "../mine", "../../private/mine"):
        assert Origin.of(source) == Origin("folder", "mine")
    assert Origin.of("..") == Origin("folder", "private")
    assert Origin.of("a.safetensors") == Origin("file", "a.safetensors")


def test_hub_ids_and_the_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder called as a hub id or as the starter is a folder."""
    monkeypatch.chdir(tmp_path)
    assert Origin.of("org/name") == Origin("hub", "org/name")
    for name in SHIPPED:
        assert Origin.of(name) == Origin("starter", name) == Origin.of(shipped_folder(name))
    Path("org/name").mkdir(parents=True)
    Path("starter").mkdir()
    assert Origin.of("org/name") == Origin("folder", "name")
    assert Origin.of("starter") == Origin("folder", "starter")
