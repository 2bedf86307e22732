"""``sanakit data inspect``, ``validate`` and ``build`` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from sanakit.cli.app import program
from sanakit.common.errors import RequestError
from sanakit.evaluation.reports.captioned import open_captioned
from sanakit.evaluation.reports.picture_sets import open_pictures


@pytest.fixture
def photos() -> Path:
    """Three good pictures in the current folder, one of them with two captions."""
    folder = Path("photos")
    folder.mkdir()
    for index, name in enumerate(("a", "b", "ü")):
        Image.effect_noise((40 + index, 30), 50).save(folder / f"{name}.jpg")
        (folder / f"{name}.txt").write_text("a photo\nanother text" if index else "a photo")
    return folder


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_inspect(run: Any, photos: Path) -> None:
    outcome = run("data", "inspect", photos)
    assert (outcome.code, outcome.err) == (0, "")
    assert "photos: 3 samples (pictures, layout folder)" in outcome.out
    assert "40 to 42, median 41 px" in outcome.out
    assert "0.72" in outcome.out
    assert "Nothing wrong was found" in outcome.out
    (photos / "c.png").write_bytes(b"")
    outcome = run("data", "inspect", photos)
    assert "Wrong: 1 missing_caption, 1 undecodable" in outcome.out
    facts = json.loads(run("data", "inspect", photos, "--json", "--min-size", "31").out)
    assert facts["num_samples"] == 0
    assert facts["num_by_reason"] == {"missing_caption": 1, "too_small": 3, "undecodable": 1}
    assert {problem["key"] for problem in facts["problems"]} == {"a", "b", "ü", "c"}


def test_pictures_without_captions_are_told_how_to_be_taken(run: Any, photos: Path) -> None:
    for text in photos.glob("*.txt"):
        text.unlink()
    outcome = run("data", "inspect", photos)
    assert "0 samples" in outcome.out
    assert "--no-captions" in outcome.out
    assert "3 samples" in run("data", "inspect", photos, "--no-captions").out


def test_inspect_tells_of_ten_problems_and_counts_the_others(run: Any, photos: Path) -> None:
    for index in range(13):
        (photos / f"x{index}.png").write_bytes(b"")
        (photos / f"x{index}.txt").write_text("x")
    lines = run("data", "inspect", photos).out.splitlines()
    assert sum(line.startswith("  undecodable") for line in lines) == 10
    assert "and 3 more" in lines[-1]


def test_validate_lists_what_is_bad_and_says_so_with_its_exit_code(run: Any, photos: Path) -> None:
    outcome = run("data", "validate", photos)
    assert (outcome.code, outcome.out) == (0, "")
    assert "3 good samples in photos; nothing is wrong" in outcome.err
    truncate(photos / "b.jpg")
    (photos / "a.txt").write_text("")
    outcome = run("data", "validate", photos)
    assert outcome.code == 1
    assert [line.split()[:2] for line in outcome.out.splitlines()] == [["empty_caption", "a:"], ["undecodable", "b:"]]
    assert "1 good sample in" in outcome.err
    outcome = run("data", "validate", photos, "--json", "--no-captions")
    facts = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (1, "")
    assert (facts["num_good"], facts["num_by_reason"], facts["layout"]) == (2, {"undecodable": 1}, "folder")


def test_build(run: Any, photos: Path) -> None:
    truncate(photos / "b.jpg")
    outcome = run("data", "build", photos, "shards", "--shard-size", 1)
    assert (outcome.code, outcome.out) == (0, "shards\n")
    assert "2 samples in 2 shards; 1 problem is listed in shards/problems.jsonl" in outcome.err
    assert run("data", "validate", "shards").code == 0
    facts = json.loads(run("data", "build", photos, "shards", "--shard-size", 1, "--json").out)
    assert facts == {"folder": "shards", "num_samples": 2, "num_shards": 2, "num_problems": 1, "unused_files": []}
    outcome = run("data", "build", photos, "shards")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "shard_size=1" in outcome.err


def test_ctrl_c_says_how_to_go_on(run: Any, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sanakit.data import build

    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build_shards", stop)
    outcome = run("data", "build", photos, "shards")
    assert outcome.code == 130
    assert "the same command continues" in outcome.err


@pytest.mark.parametrize("command", ["inspect", "validate", "build"])
@pytest.mark.parametrize("path", ["missing", "photos/a.jpg", "photos/a.txt", "empty"])
def test_wrong_paths_are_one_sentence(run: Any, photos: Path, command: str, path: str) -> None:
    Path("empty").mkdir()
    outcome = run("data", command, path, *(["out"] if command == "build" else []))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "a data set is a folder of pictures" in outcome.err


DOORS = (
    "data inspect", "data validate", "data build", "data cache", "data captions score",
    "eval fid", "eval kid", "eval clip-score", "eval reconstruction",
)  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_every_door_that_refuses_what_lies_outside_has_the_way_to_allow_it(door: str) -> None:
    command: Any = typer.main.get_command(program())
    for name in door.split():
        command = command.commands[name]
    assert "--also" in [option for parameter in command.params for option in parameter.opts]


def test_the_sentence_names_an_option_that_works(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data", tmp_path / "private"
    for folder in (inside, outside):
        folder.mkdir()
    Image.effect_noise((40, 30), 50).save(outside / "b.png")
    (inside / "metadata.csv").write_text(f"file_name,text\n{outside / 'b.png'},a word\n")
    with pytest.raises(RequestError, match="--also FOLDER"):
        open_pictures(inside)
    assert open_pictures(inside, also=[outside]).captions == (("a word",),)
    assert open_captioned(inside, also=[outside]).keys
