"""The shell leaves ``~`` as it is after "=" and in quotes; every path of every command means the home folder by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from sanakit.cli.app import program


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    (folder / "photos").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(folder / "photos" / "a.png")
    (folder / "photos" / "a.txt").write_text("a square")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def commands(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        yield from commands(command) if hasattr(command, "commands") else [command]


def test_every_command_takes_its_paths_through_one_function() -> None:
    assert [c.name for c in commands(typer.main.get_command(program())) if not hasattr(c.callback, "__wrapped__")] == []


def test_arguments_and_options(run: Any, home: Path, tiny_model: Path) -> None:
    assert "1 sample" in run("data", "inspect", "~/photos").out
    assert run("data", "build", "~/photos", "~/shards", "--quiet").code == 0
    assert run("convert", tiny_model, "~/model.safetensors").code == 0
    assert (home / "model.safetensors").is_file()
    (home / "prompts.txt").write_text("a cat\n")
    words = ("--prompt-file=~/prompts.txt", "--model=~/tiny", "--output=~/pictures/", "--steps=1", "--quiet")
    (home / "tiny").symlink_to(tiny_model)
    assert run("generate", *words).code == 0
    picture = next((home / "pictures").iterdir())
    assert run("replay", f"~/pictures/{picture.name}", "--model=~/tiny", "--quiet").code == 0
    outcome = run("train", "~/none.yaml", "--output=~/runs")
    assert str(home / "none.yaml") in outcome.err
    assert not Path("~").exists()
