"""Shards out of every layout: nothing lost on the way, the same bytes again, and whole shards whatever happens."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import ConfigError, OutputError, RequestError
from sanakit.data.build import build_shards
from sanakit.data.open import open_data
from sanakit.data.pictures import decode_picture
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource

PictureBytes = Callable[..., bytes]
LAYOUTS = ["folder", "jsonl", "csv", "json", "parquet", "imagefolder", "wids", "features"]


@pytest.fixture
def make(tmp_path: Path, picture: PictureBytes) -> Callable[[str], Path]:
    """``make(layout)``: seven samples, some with two captions and scores."""

    def build(layout: str) -> Path:
        root = tmp_path / layout
        root.mkdir()
        if layout == "wids":
            build_shards(build("jsonl"), root, shard_size=2)
            return root
        names = [f"{index}.v1" if index % 2 else f"ö/{index}" for index in range(7)]
        rows: list[dict[str, Any]] = []
        for index, name in enumerate(names):
            place = root / f"{name}.{'npy' if layout == 'features' else 'png'}"
            place.parent.mkdir(exist_ok=True)
            content = picture(20 + index, 16, index)
            row: dict[str, Any] = {"file_name": place.relative_to(root).as_posix(), "caption": f"one of {name}"}
            row["caption_score"] = 0.1 * index
            if index < 4:
                row |= {"a/b VILA_caption": f"two, of {name}", "stats_text": "three"}
            rows.append(row)
            if layout == "features":
                np.save(place, np.full((4, 2, 3), index, np.float32))
                np.savez(place.with_suffix(".npz"), caption_feature=np.full((1, 5, 6), index))
                content = b""
            if layout == "parquet":
                row["image"] = {"bytes": content, "path": row.pop("file_name")}
            elif content:
                place.write_bytes(content)
            if layout in ("folder", "features"):
                place.with_suffix(".json").write_text(json.dumps({k: v for k, v in row.items() if k != "file_name"}))
        write_rows(root, layout, rows)
        return root

    return build


def write_rows(root: Path, layout: str, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    match layout:
        case "jsonl":
            (root / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        case "imagefolder":
            (root / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        case "json":
            (root / "metadata.json").write_text(json.dumps(rows))
        case "csv":
            lines = [columns, *([str(row.get(name, "")) for name in columns] for row in rows)]
            (root / "list.tsv").write_text("\n".join("\t".join(line) for line in lines))
        case "parquet":
            pa = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            parquet.write_table(pa.Table.from_pylist(rows), root / "train.parquet", row_group_size=3)


def samples(source: DataSource) -> list[Any]:
    return [source[index] for index in range(len(source))]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(make: Any, tmp_path: Path, layout: str) -> None:
    before = open_data(make(layout))
    assert before.layout == layout
    report = build_shards(tmp_path / layout, tmp_path / "out", shard_size=3)
    after = open_data(tmp_path / "out")
    assert (report.num_samples, report.num_shards, len(before)) == (7, 3, 7)
    assert after.layout == ("features" if layout == "features" else "wids")
    assert before.problems == report.problems == ()
    assert after.problems == ()
    assert samples(after) == samples(before)
    assert any(caption.score for sample in samples(after) for caption in sample.captions)
    for index in range(7):
        assert after.read_bytes(index) == before.read_bytes(index)
        assert (after.text_features(index) is None) == (layout != "features")


@pytest.mark.parametrize("layout", ["folder", "features"])
def test_the_same_data_gives_the_same_bytes(make: Any, tmp_path: Path, layout: str) -> None:
    root = make(layout)
    build_shards(root, tmp_path / "one", shard_size=2)
    for path in root.rglob("*"):
        os.utime(path, (1, 1))
    build_shards(root, tmp_path / "two", shard_size=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    index = json.loads((tmp_path / "one" / "wids-meta.json").read_text())
    assert index["__kind__"] == "SANA-WebDataset"
    assert [shard["nsamples"] for shard in index["shardlist"]] == [2, 2, 2, 1]
    for shard in index["shardlist"]:
        assert (tmp_path / "one" / shard["url"]).stat().st_size == shard["filesize"]


def test_upstream_finds_its_fields(make: Any, tmp_path: Path) -> None:
    build_shards(make("folder"), tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "00000.tar") as archive:
        facts = json.load(archive.extractfile("1.v1.json"))  # type: ignore[arg-type]
    assert facts["prompt"] == "two, of 1.v1"
    assert (facts["width"], facts["height"], facts["file_name"]) == (21, 16, "1.v1.png")
    captions = json.loads((tmp_path / "out" / "00000_caption.json").read_text())
    assert captions["1.v1"] == {"caption": "one of 1.v1"}
    scores = json.loads((tmp_path / "out" / "00000_caption_clip_score.json").read_text())
    assert scores["1.v1"] == {"caption": 0.1}


def test_bad_samples_are_listed_and_counted(tmp_path: Path, picture: PictureBytes) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for index in range(9):
        content = picture(40, 40, index, "JPEG")
        (root / f"{index}.jpg").write_bytes(content if index not in (3, 4, 5, 8) else content[: len(content) // 2])
        (root / f"{index}.txt").write_text("" if index == 0 else "x")
    first = build_shards(root, tmp_path / "out", shard_size=2)
    assert (first.num_samples, [problem.key for problem in first.problems]) == (4, ["0", "3", "4", "5", "8"])
    lines = (tmp_path / "out" / "problems.jsonl").read_text().splitlines()
    assert tuple(Problem(**json.loads(line)) for line in lines) == first.problems
    before = contents(tmp_path / "out")
    assert build_shards(root, tmp_path / "out", shard_size=2) == first  # continuing a finished folder
    assert contents(tmp_path / "out") == before
    after = open_data(tmp_path / "out")
    assert ([sample.key for sample in samples(after)], after.problems) == (["1", "2", "6", "7"], ())


def test_pictures_that_others_would_see_wrong_become_upright_png(tmp_path: Path, picture: PictureBytes) -> None:
    root = tmp_path / "in"
    root.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    files = {"a.jpg": picture(30, 20, 0, "JPEG", exif=exif), "b.bmp": picture(9, 8, 1, "BMP")}
    for name, content in files.items():
        (root / name).write_bytes(content)
        (root / name).with_suffix(".txt").write_text(name)
    build_shards(root, tmp_path / "out")
    source = open_data(tmp_path / "out")
    for index, (name, content) in enumerate(files.items()):
        assert source[index].captions[0].text == name
        with Image.open(tmp_path / "in" / name), tarfile.open(tmp_path / "out" / "00000.tar") as archive:
            assert f"{name[0]}.png" in archive.getnames()
        assert np.array_equal(np.asarray(source.image(index)), np.asarray(decode_picture(content)))
        assert (source[index].width, source[index].height) == source.image(index).size


def test_an_interrupted_build_continues_to_the_same_bytes(make: Any, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    root = make("jsonl")
    with pytest.raises(KeyboardInterrupt):
        build_shards(root, tmp_path / "a", shard_size=2, on_progress=stop)
    assert not (tmp_path / "a" / "wids-meta.json").exists()
    time_of_first = (tmp_path / "a" / "00000.tar").stat().st_mtime_ns
    (tmp_path / "a" / ".00001.tar.part").write_bytes(b"half")
    build_shards(root, tmp_path / "a", shard_size=2)
    build_shards(root, tmp_path / "b", shard_size=2)
    assert (tmp_path / "a" / "00000.tar").stat().st_mtime_ns == time_of_first
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_build_is_not_continued_with_other_pictures_of_the_same_length(make: Any, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    root, out = make("folder"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_shards(root, out, shard_size=7, on_progress=stop)
    path = root / "1.v1.png"
    facts, content = path.stat(), path.read_bytes()
    path.write_bytes(content)  # the same again, and later
    build_shards(root, out, shard_size=7)
    with Image.open(path) as image:
        image.putpixel((0, 0), (1, 2, 3))
        image.save(path, "PNG")
    path.write_bytes(path.read_bytes()[: facts.st_size].ljust(facts.st_size, b"\0"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(ConfigError, match=r"1\.v1 has changed since .*00000\.tar was written"):
        build_shards(root, out, shard_size=7)


def test_a_killed_build_leaves_whole_shards_and_continues(tmp_path: Path, picture: PictureBytes) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for index in range(150):
        (root / f"{index}.png").write_bytes(picture(64, 64, index))
        (root / f"{index}.txt").write_text("x")
    code = f"from pathlib import Path; from sanakit.data.build import build_shards; build_shards(Path({str(root)!r}), Path({str(tmp_path / 'a')!r}), shard_size=5)"  # noqa: E501
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not (tmp_path / "a" / "00003.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    for path in (tmp_path / "a").glob("*.tar"):
        with tarfile.open(path) as archive:
            assert len(archive.getnames()) == 10
    assert not (tmp_path / "a" / "wids-meta.json").exists()
    build_shards(root, tmp_path / "a", shard_size=5)
    build_shards(root, tmp_path / "b", shard_size=5)
    assert {k: v for k, v in contents(tmp_path / "a").items() if not k.endswith(".part")} == contents(tmp_path / "b")


def test_a_full_disk_is_one_sentence_and_leaves_whole_shards(make: Any, tmp_path: Path, monkeypatch: Any) -> None:
    root, replace, calls = make("folder"), os.replace, []

    def full(source: Any, target: Any) -> None:
        calls.append(target)
        if str(target).endswith("00001.tar"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        build_shards(root, tmp_path / "out", shard_size=2)
    names = set(contents(tmp_path / "out"))
    assert "00000.tar" in names
    assert not [name for name in names if name.endswith(".part")] and "00001.tar" not in names  # noqa: PT018
    monkeypatch.setattr(os, "replace", replace)
    assert build_shards(root, tmp_path / "out", shard_size=2).num_samples == 7


def test_a_folder_of_something_else_is_left_alone(make: Any, tmp_path: Path) -> None:
    root = make("folder")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="other files"):
        build_shards(root, tmp_path / "other")
    build_shards(root, tmp_path / "out", shard_size=2)
    with pytest.raises(ConfigError, match="shard_size=2"):
        build_shards(root, tmp_path / "out", shard_size=3)
    (root / "1.v1.json").write_text('{"caption": "changed"}')
    with pytest.raises(ConfigError, match="other data than"):
        build_shards(root, tmp_path / "out", shard_size=2)
    with pytest.raises(RequestError, match="outside"):
        build_shards(tmp_path / "out", tmp_path / "out" / "again")
    with pytest.raises(ConfigError, match="other files"):
        build_shards(root, root)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        build_shards(root, tmp_path / "file" / "out")


def test_nothing_good_makes_no_shards(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    with pytest.raises(RequestError, match=r"undecodable|missing_caption"):
        build_shards(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
