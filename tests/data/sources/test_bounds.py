"""Nothing outside of a data set gets into it, unless its folder was allowed by name."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sanakit.common.errors import ConfigError
from sanakit.data.build import build_shards
from sanakit.data.open import open_data
from sanakit.data.shards.writer import add_member
from sanakit.data.sources.data_source import DataSource
from sanakit.data.sources.files import leads_out

PictureBytes = Callable[..., bytes]


def keys(source: DataSource) -> set[str]:
    return {source[index].key for index in range(len(source))}


@pytest.fixture
def places(tmp_path: Path, picture: PictureBytes) -> tuple[Path, Path]:
    """A data set of one good picture, and a folder outside with another and a secret."""
    inside, outside = tmp_path / "data", tmp_path / "private"
    for folder, name in ((inside, "a"), (outside, "b")):
        folder.mkdir()
        (folder / f"{name}.png").write_bytes(picture())
    (outside / "secret.txt").write_text("the password")
    return inside, outside


def outside_of(source: DataSource) -> list[str]:
    assert all("--also FOLDER" in problem.detail for problem in source.problems if problem.reason == "outside")
    return [problem.key for problem in source.problems if problem.reason == "outside"]


@pytest.mark.parametrize("name", ["../private/b.png", "ABSOLUTE", "sub/../../private/b.png", "link.png", "way/b.png"])
@pytest.mark.parametrize("table", ["metadata.csv", "list.jsonl"])
def test_rows_that_lead_out(places: tuple[Path, Path], name: str, table: str) -> None:
    inside, outside = places
    name = str(outside / "b.png") if name == "ABSOLUTE" else name
    (inside / "sub").mkdir()
    (inside / "link.png").symlink_to(outside / "b.png")
    (inside / "way").symlink_to(outside)
    rows = [("a.png", "fine"), (name, "not ours")]
    lines = ["file_name,text", *map(",".join, rows)] if table.endswith("csv") else []
    lines = lines or [json.dumps({"file_name": file, "text": text}) for file, text in rows]
    (inside / table).write_text("\n".join(lines))
    source = open_data(inside)
    assert keys(source) == {"a"}
    assert outside_of(source)
    allowed = open_data(inside, also=[outside])
    assert len(allowed) == 2
    assert not outside_of(allowed)


def test_a_linked_caption_or_table_is_not_read(places: tuple[Path, Path]) -> None:
    inside, outside = places
    (inside / "a.txt").symlink_to(outside / "secret.txt")
    source = open_data(inside, need_captions=False)
    assert not source[0].captions
    assert outside_of(source) == ["a.txt"]
    assert open_data(inside, also=[outside])[0].captions[0].text == "the password"
    (outside / "metadata.csv").write_text("file_name,text\na.png,stolen")
    (inside / "metadata.csv").symlink_to(outside / "metadata.csv")
    assert outside_of(open_data(inside, need_captions=False)) == ["a.txt", "metadata.csv"]


def test_indexes_and_shards_that_lead_out(places: tuple[Path, Path], tmp_path: Path) -> None:
    inside, outside = places
    (inside / "a.txt").write_text("a picture")
    shards = tmp_path / "shards"
    build_shards(inside, shards)
    (outside / "00001.tar").write_bytes((shards / "00000.tar").read_bytes())
    (outside / "00000_VILA.json").write_text('{"a": {"VILA": "the password"}}')
    (shards / "00000_VILA.json").symlink_to(outside / "00000_VILA.json")
    index = json.loads((shards / "wids-meta.json").read_text())
    for url in ("../private/00001.tar", str(outside / "00001.tar"), f"file://{outside}/00001.tar"):
        index["shardlist"] = [index["shardlist"][0], {"url": url, "nsamples": 1}]
        (shards / "wids-meta.json").write_text(json.dumps(index))
        source = open_data(shards)
        assert keys(source) == {"a"}
        assert outside_of(source)
        assert [caption.text for caption in source[0].captions] == ["a picture"]
    assert len(open_data(shards, also=[outside])) == 2


def test_names_in_archives_that_lead_out(tmp_path: Path, picture: PictureBytes) -> None:
    for name in ("../../x.png", "/etc/x.png", "a/../../x.png"):
        with tarfile.open(tmp_path / "00000.tar", "w") as archive:
            for member, content in ((name, picture()), ("good.png", picture())):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        source = open_data(tmp_path, need_captions=False)
        assert keys(source) == {"good"}
        assert [problem.reason for problem in source.problems] == ["outside"]
        with tarfile.open(tmp_path / "out.part", "w") as written, pytest.raises(ConfigError, match="lie elsewhere"):
            add_member(written, name, b"x")


def test_a_snapshot_of_the_hubs_cache_needs_no_word(tmp_path: Path, picture: PictureBytes) -> None:
    repo = tmp_path / "datasets--org--name"
    (repo / "blobs").mkdir(parents=True)
    (repo / "snapshots" / "abc").mkdir(parents=True)
    (repo / "blobs" / "0123").write_bytes(picture())
    os.symlink("../../blobs/0123", repo / "snapshots" / "abc" / "a.png")
    assert keys(open_data(repo / "snapshots" / "abc", need_captions=False)) == {"a"}


def test_names_with_dots_are_no_way_out() -> None:
    assert [leads_out(name) for name in ("a..b", "..a/b", "a/..", "..\\x", "./a", "/a")] == [
        False, False, True, True, False, True,
    ]  # fmt: skip
