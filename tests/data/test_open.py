"""What is no data set is one sentence that says what would be one."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanakit.common.errors import PictureError, RequestError
from sanakit.data.fates import fates
from sanakit.data.open import open_data
from sanakit.data.sources import data_source
from sanakit.data.sources.data_source import read_text_features


@pytest.fixture
def wrong(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    """A folder full of things that people give by mistake."""
    (tmp_path / "one.png").write_bytes(picture())
    (tmp_path / "one.txt").write_text("a caption")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "readme.txt").write_text("x")
    tarfile.open(tmp_path / "x.tar", "w").close()
    (tmp_path / "packed").mkdir()
    for place in (tmp_path, tmp_path / "packed"):
        with zipfile.ZipFile(place / "x.zip", "w") as archive:
            archive.writestr("a.png", picture())
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".a.png").write_bytes(picture())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "is not there"), ("one.png", "a single picture"), ("one.txt", "is a file; give a folder"),
        ("empty", "is empty"), ("texts", "no pictures (1 other"), ("x.tar", "a single tar; give the folder"),
        ("x.zip", "an archive; unpack it"), ("packed", "holds x.zip"), ("hidden", "is empty"),
    ],
)  # fmt: skip
def test_wrong_things_are_one_sentence(wrong: Path, name: str, words: str) -> None:
    with pytest.raises(RequestError) as error:
        open_data(wrong / name)
    message = str(error.value)
    assert words in message
    assert str(wrong / name) in message
    for layout in ("a.txt", "metadata.csv", "Parquet", "*.tar", "*.npy"):
        assert layout in message
    assert "\n" not in message


COMPOSED, APART = "caf\u00e9", "cafe\u0301"  # as Linux and tables write it, and as archives from macOS do


@pytest.mark.parametrize("on_disk", [COMPOSED, APART])
@pytest.mark.parametrize("told", ["text", "json", "keyed", "csv", "meta", "features", "shard", "index"])
def test_names_have_one_form_of_unicode(tmp_path: Path, picture: Callable[..., bytes], on_disk: str, told: str) -> None:
    other = APART if on_disk == COMPOSED else COMPOSED
    root = tmp_path / on_disk
    root.mkdir()
    if told in ("shard", "index"):
        with tarfile.open(root / f"{on_disk}.tar", "w") as archive:
            for name, content in ((f"{on_disk}.png", picture()), (f"{other}.txt", b"a caption")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        (root / f"{other}_VILA.json").write_text(json.dumps({other: {"VILA": "another"}}))
        if told == "index":
            (root / "wids-meta.json").write_text(json.dumps({"shardlist": [{"url": f"{other}.tar"}]}))
    elif told == "features":
        np.save(root / f"{on_disk}.npy", np.zeros((4, 2, 2), np.float32))
        (root / f"{other}.txt").write_text("a caption")
    else:
        (root / f"{on_disk}.png").write_bytes(picture())
    match told:
        case "text" | "meta":
            (root / f"{other}.txt").write_text("a caption")
            if told == "meta":
                (root / "meta_data.json").write_text(json.dumps({"img_names": [other]}))
        case "json":
            (root / f"{other}.json").write_text('{"prompt": "a caption"}')
        case "keyed":
            (root / f"{on_disk}_VILA.json").write_text(json.dumps({f"{other}.png": {"prompt": "a caption"}}))
        case "csv":
            (root / "metadata.csv").write_text(f"file_name,text\n{other}.png,a caption\n")
    source = open_data(tmp_path / other)
    assert [source[index].key for index in range(len(source))] == [COMPOSED]
    assert source[0].captions[0].text == "a caption"
    assert len(source[0].captions) == (2 if told in ("shard", "index") else 1)
    assert source.problems == ()


def test_one_picture_in_other_words_is_one_sample(
    tmp_path: Path, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.png").write_bytes(picture())
    (tmp_path / "link").symlink_to("data")
    names = ["a.png", "./a.png", "sub/../a.png", str(tmp_path / "data" / "a.png")]
    rows = "".join(f"{name},caption {number}\n" for number, name in enumerate(names))
    (tmp_path / "data" / "metadata.csv").write_text("file_name,text\n" + rows)
    monkeypatch.chdir(tmp_path)
    for place in ("data", "data/", "link", str(tmp_path / "data")):
        source = open_data(Path(place))
        assert [source[index].key for index in range(len(source))] == ["a"], place
        assert len(source[0].captions) == 4


def test_a_subfolder_without_permission_is_told(
    tmp_path: Path, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("open", "lost+found"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(picture())
        (tmp_path / folder / "a.txt").write_text("a")
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if str(path).endswith("lost+found"):  # the permission bits mean nothing to root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    source = open_data(tmp_path)
    assert [source[index].key for index in range(len(source))] == ["open/a"]
    assert [(problem.key, problem.reason) for problem in source.problems] == [("lost+found", "bad_record")]


def test_the_same_folder_gives_the_same_order(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    for name in ("z", "a", "m/b", "B", "ä"):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(picture())
        (tmp_path / f"{name}.txt").write_text(name)
    source = open_data(tmp_path)
    assert [source[index].key for index in range(len(source))] == ["B", "a", "m/b", "z", "ä"]


def test_shards_and_pictures_beside_them_are_all_used(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    with tarfile.open(tmp_path / "00000.tar", "w") as shard:
        for name, content in (("in.png", picture()), ("in.txt", b"in the shard")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    (tmp_path / "cover.png").write_bytes(picture())
    source = open_data(tmp_path)
    assert [source[index].key for index in range(len(source))] == ["in"]
    assert [(problem.key, problem.reason) for problem in source.problems] == [("cover", "missing_caption")]
    (tmp_path / "cover.txt").write_text("what is in here")
    source = open_data(tmp_path)
    assert (source.layout, source.problems) == ("wids", ())
    assert [source[index].captions[0].text for index in range(len(source))] == ["what is in here", "in the shard"]
    (tmp_path / "wids-meta.json").write_text(json.dumps({"shardlist": [{"url": "00000.tar"}]}))
    source = open_data(tmp_path)  # the index says what belongs to the data set
    assert (len(source), [problem.key for problem in source.problems]) == (1, ["cover.png"])
    assert [sentence.partition(":")[0] for sentence in source.unused_files] == ["cover.txt"]


def test_what_happened_is_counted_apart(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    """What is left out, what is used with a fault, and files that have no part."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(picture())
    (tmp_path / "list.csv").write_text("file_name,text\na.png,red\na.png,red\nb.png,\n")
    (tmp_path / "notes.md").touch()
    assert open_data(tmp_path).caption_files == ("list.csv",)
    assert fates(open_data(tmp_path)) == [
        "left out, 1 empty_caption: b (its caption is empty)",
        "left out, 1 missing_caption: c (c.png lies in the folder, and no row of list.csv names it)",
        "used all the same, 1 duplicate_key: a (list.csv:3 says again what an earlier row says; it counts once)",
        "not used, notes.md: no .md file is read",
    ]


def test_a_zip_bomb_of_text_features_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, caption_feature=np.zeros((1, 3, 500), np.float32))
    assert read_text_features(buffer.getvalue(), "a.npz").embeds.shape == (3, 500)
    monkeypatch.setattr(data_source, "_MAX_FEATURE_BYTES", 5000)
    with pytest.raises(PictureError, match="would unpack to 6128 bytes"):
        read_text_features(buffer.getvalue(), "a.npz")


def test_texts_beside_pictures_that_are_not_read_are_told_how(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(picture())
    (tmp_path / "a.txt").write_text("red")
    (tmp_path / "b.tags").write_text("blue")
    for name in ("a.mov", "b.AAE"):  # a live photo's film, and what a phone notes of edits
        (tmp_path / name).write_text("<plist/>")
    assert open_data(tmp_path).unused_files == (
        "a.mov: the picture of the same name beside it is used; give the clip another name",
        "b.AAE: no .aae file is read",
        "b.tags: of the texts beside a picture only .txt, .caption and .json are read; rename it",
    )  # fmt: skip


def test_heic_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x24ftypheic" + bytes(40))
    (problem,) = open_data(tmp_path, need_captions=False).problems
    assert problem.reason == "undecodable"
    assert "it is HEIC, as phones write it, which is not read; save it as JPEG or PNG" in problem.detail
