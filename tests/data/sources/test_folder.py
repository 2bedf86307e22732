"""Plain folders, good and broken, and SANA's own image folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.data.open import open_data
from sanakit.data.samples import Caption
from sanakit.data.sources.data_source import DataSource

PictureBytes = Callable[..., bytes]


def put(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def texts(source: DataSource) -> dict[str, dict[str, str]]:
    samples = [source[index] for index in range(len(source))]
    return {sample.key: {caption.source: caption.text for caption in sample.captions} for sample in samples}


def reasons(source: DataSource) -> list[tuple[str, str]]:
    return [(problem.key, problem.reason) for problem in source.problems]


def test_captions_beside_pictures_in_every_form(tmp_path: Path, picture: PictureBytes) -> None:
    put(tmp_path, {
        "a.PNG": picture(24, 16), "a.txt": b"\xef\xbb\xbfred apple\r\n\r\n a second one \r\n",
        "b/b.jpg": picture(20, 30, 1, "JPEG"), "b/b.json": '{"caption": " blue ", "caption_score": 2}',
        "c.webp": picture(8, 8, 2, "WEBP"), "c.json": '"just a text"',
        "d.png": picture(), "d.png.txt": "the other habit",
        "e.png": picture(), "e.txt": "wide".encode("utf-16"),
        "f.png": picture(), "f.json": '{"captions": {"blip": "one", "llava": "two"}, "scores": {"llava": 0.5}}',
        "g.png": picture(), "g.json": '["first", "second"]',
        "notes.csv": "a,b\n1,2\n",
    })  # fmt: skip
    source = open_data(tmp_path)
    assert (source.layout, source.problems, source.has_latents()) == ("folder", (), False)
    assert texts(source) == {
        "a": {"prompt": "red apple", "prompt_2": "a second one"}, "b/b": {"caption": "blue"},
        "c": {"prompt": "just a text"}, "d": {"prompt": "the other habit"}, "e": {"prompt": "wide"},
        "f": {"blip": "one", "llava": "two"}, "g": {"prompt": "first", "prompt_2": "second"},
    }  # fmt: skip
    assert source[1].captions == (Caption(source="caption", text="blue", score=2.0),)
    assert source[5].captions[1].score == 0.5
    assert (source[1].width, source[1].height) == source.image(1).size == (20, 30)
    assert source.read_bytes(0) == (tmp_path / "a.PNG").read_bytes()
    with pytest.raises(PictureError, match="no latents"):
        source.latent(0)
    with pytest.raises(IndexError):
        source[7]


def test_broken_samples_become_problems(tmp_path: Path, picture: PictureBytes) -> None:
    good = picture(64, 64, 3, "JPEG")
    put(tmp_path, {
        "good.png": picture(), "good.txt": "fine",
        "zero.png": b"", "zero.txt": "x",
        "text.jpg": "this is a text", "text.txt": "x",
        "phone.heic": b"\0\0\0\x18ftypheic", "phone.txt": "x",
        "truncated.jpg": good[: len(good) // 2], "truncated.txt": "found by validate",
        "alone.png": picture(), "lonely.txt": "no picture",
        "blank.png": picture(), "blank.txt": " \r\n\n",
        "latin.png": picture(), "latin.txt": b"caf\xe9",
        "json.png": picture(), "json.json": '{"caption": ',
        "number.png": picture(), "number.json": '{"caption": 5}',
        "twice.jpg": picture(8, 8, 1, "JPEG"), "twice.png": picture(), "twice.txt": "two pictures, one caption",
        "small.png": picture(9, 7), "small.txt": "tiny",
    })  # fmt: skip
    source = open_data(tmp_path, min_size=8)
    assert list(texts(source)) == ["good", "truncated", "twice"]
    assert source.read_bytes(2) == (tmp_path / "twice.jpg").read_bytes()
    assert reasons(source) == [
        ("alone", "missing_caption"), ("blank", "empty_caption"), ("json", "bad_record"), ("latin", "bad_record"),
        ("lonely", "missing_image"), ("number", "bad_record"), ("phone", "undecodable"), ("small", "too_small"),
        ("text", "undecodable"), ("twice", "duplicate_key"), ("zero", "undecodable"),
    ]  # fmt: skip
    details = {problem.key: problem.detail for problem in source.problems}
    assert "9x7" in details["small"]
    assert "0xe9 at 3" in details["latin"]
    assert "twice.jpg" in details["twice"]
    with pytest.raises(PictureError, match="damaged"):
        source.image(1)


def test_one_sample_may_have_several_problems(tmp_path: Path) -> None:
    source = open_data(put(tmp_path, {"a.png": b"", "a.txt": ""}))
    assert reasons(source) == [("a", "empty_caption"), ("a", "undecodable")]


def test_pictures_without_captions_can_be_wanted(tmp_path: Path, picture: PictureBytes) -> None:
    put(tmp_path, {"a.png": picture(), "b.png": picture(), "b.txt": "", "c.png": picture(), "c.txt": "c"})
    source = open_data(tmp_path, need_captions=False)
    assert texts(source) == {"a": {}, "b": {}, "c": {"prompt": "c"}}
    assert source.problems == ()


def test_what_machines_leave_behind_is_not_seen(tmp_path: Path, picture: PictureBytes) -> None:
    hidden = ("._a.png", ".DS_Store", "__MACOSX/a.png", ".cache/a.png", "Thumbs.db")
    put(tmp_path, {"a.png": picture(), "a.txt": "a", **dict.fromkeys(hidden, b"x")})
    source = open_data(tmp_path)
    assert (list(texts(source)), source.problems) == (["a"], ())


def test_a_phones_pair_and_what_is_no_file(tmp_path: Path, picture: PictureBytes) -> None:
    """The JPEG of a pair is used, not its HEIC, and nobody waits for a pipe."""
    (tmp_path / "IMG_1.HEIC").write_bytes(b"what Pillow does not read")
    (tmp_path / "IMG_1.JPG").write_bytes(picture(picture_format="JPEG"))
    (tmp_path / "IMG_1.txt").write_text("a beach")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    source = open_data(tmp_path)
    assert source.image(0).size == (24, 16)
    assert [(problem.key, problem.reason) for problem in source.problems] == [
        ("IMG_1", "duplicate_key"), ("device.png", "bad_record"), ("pipe.png", "bad_record"),
    ]  # fmt: skip


def test_links_and_names(tmp_path: Path, picture: PictureBytes) -> None:
    root = put(tmp_path / "root", {
        "ünï 图.png": picture(), "ünï 图.txt": "ünï 图", "v1.2.png": picture(), "v1.2.txt": "dots",
    })  # fmt: skip
    put(tmp_path / "elsewhere", {"x.png": picture(), "x.txt": "elsewhere"})
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(root)
    (root / "y.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (root / "y.txt").write_text("a link")
    (root / "gone.png").symlink_to("nowhere.png")
    raw = os.fsdecode(b"\xff.png")
    try:
        (root / raw).write_bytes(picture())
        (root / os.fsdecode(b"\xff.txt")).write_text("a name that is not UTF-8")
    except OSError:
        raw = ""  # this file system takes UTF-8 names only
    source = open_data(root, also=[tmp_path / "elsewhere"])
    assert set(texts(source)) == {"folder/x", "v1.2", "y", "ünï 图"} | ({raw.removesuffix(".png")} if raw else set())
    assert ("gone", "missing_image") in reasons(source)
    assert [s.key for s in map(source.__getitem__, range(len(source)))] == sorted(texts(source))


def test_sana_image_folder(tmp_path: Path, picture: PictureBytes) -> None:
    put(tmp_path, {
        "meta_data.json": json.dumps({"img_names": ["a", "b", "missing"]}),
        "a.png": picture(), "a.txt": "first line\nsecond line",
        "a_VILA.json": json.dumps({"a.png": {"VILA": "of VILA"}}),
        "a_Intern_2.json": json.dumps({"a": {"prompt": "of Intern"}}),
        "a_VILA_clip_score.json": json.dumps({"a.png": {"VILA": 27.5}}),
        "a_prompt_clip_score.json": json.dumps({"a": {"prompt": "21.25"}}),
        "b.png": picture(), "b.txt": "b", "b_VILA.json": "{", "unlisted.png": picture(),
    })  # fmt: skip
    source = open_data(tmp_path)
    assert source.layout == "json"
    assert source[0].captions == (
        Caption(source="prompt", text="first line", score=21.25), Caption(source="Intern_2", text="of Intern"),
        Caption(source="VILA", text="of VILA", score=27.5), Caption(source="prompt_2", text="second line"),
    )  # fmt: skip
    assert texts(source)["b"] == {"prompt": "b"}
    assert reasons(source) == [("b", "bad_record"), ("missing", "missing_image"), ("unlisted", "missing_caption")]


def test_a_picture_that_vanishes_is_one_sentence(tmp_path: Path, picture: PictureBytes) -> None:
    source = open_data(put(tmp_path, {"a.png": picture(), "a.txt": "a"}))
    (tmp_path / "a.png").unlink()
    with pytest.raises(PictureError, match="cannot be read"):
        source.read_bytes(0)


def test_the_size_is_that_of_the_upright_picture(tmp_path: Path, picture: PictureBytes) -> None:
    exif = Image.Exif()
    exif[274] = 6
    source = open_data(put(tmp_path, {"a.jpg": picture(30, 20, 0, "JPEG", exif=exif), "a.txt": "a"}))
    assert (source[0].width, source[0].height) == source.image(0).size == (20, 30)


def test_captions_in_files_of_other_names(tmp_path: Path, picture: PictureBytes) -> None:
    """``a.caption``, and a folder of captions beside the pictures or beside their folder."""
    put(tmp_path, {
        "a.png": picture(), "a.caption": "red", "images/b.png": picture(), "captions/b.txt": "blue",
        "c.png": picture(), "c.txt": "green", "c.caption": "not green", "texts/c.txt": "neither",
        "images/d.png": picture(), "other/d.png": picture(), "captions/d.txt": "of which?",
        "images/e.png": picture(), "captions/e.json": '{"prompt": "grey"}', "f.png": picture(), "f.png.json": '"pink"',
    })  # fmt: skip
    source = open_data(tmp_path)
    assert {key: found["prompt"] for key, found in texts(source).items()} == {
        "a": "red", "images/b": "blue", "c": "green", "images/e": "grey", "f": "pink",
    }  # fmt: skip
    assert ("captions/d", "missing_image") in reasons(source)
    assert [problem.key for problem in source.problems if problem.reason == "missing_caption"] == [
        "images/d",
        "other/d",
    ]
    assert source.unused_files[0].startswith("c.caption: not named after")
    assert source.caption_files == ("*.caption", "*.json", "*.txt")
