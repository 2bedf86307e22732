"""SANA's shards, good and damaged; and cached features."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanakit.common.errors import PictureError
from sanakit.common.user_cache import user_cache_folder
from sanakit.data.open import open_data
from sanakit.data.samples import Caption
from sanakit.data.shards import contents
from sanakit.data.sources.data_source import DataSource, read_latent, read_text_features

PictureBytes = Callable[..., bytes]


def write_tar(path: Path, files: Mapping[str, bytes | Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_index(root: Path, **changes: Any) -> None:
    shards = []
    for path in sorted(root.glob("*.tar")):
        with tarfile.open(path) as archive:
            number = sum(name.endswith((".png", ".jpg", ".npy")) for name in archive.getnames())
        shards.append({"url": path.name, "nsamples": number, "filesize": path.stat().st_size})
    index = {"name": "x", "__kind__": "SANA-WebDataset", "wids_version": 1, "shardlist": shards, **changes}
    (root / "wids-meta.json").write_text(json.dumps(index))


@pytest.fixture
def shards(tmp_path: Path, picture: PictureBytes) -> Path:
    """Two shards of three pictures in SANA's naming, with an index, captions of VILA and scores."""
    root = tmp_path / "data"
    for shard in range(2):
        files: dict[str, Any] = {}
        keys = [f"{shard}{index:03d}" for index in range(3)]
        for index, key in enumerate(keys):
            width = 20 + index
            files[f"{key}.png" if index else f"{key}.jpg"] = picture(
                width, 16, shard * 3 + index, "PNG" if index else "JPEG"
            )
            files[f"{key}.json"] = {"prompt": f"p{key}", "width": width, "height": 16, "file_name": f"{key}.png"}
        write_tar(root / f"{shard:05d}.tar", files)
        side: dict[str, Any] = {"_VILA": {key: {"VILA": f"v{key}"} for key in keys},
                "_Intern": {key: {"prompt": f"i{key}"} for key in keys},
                "_VILA_clip_score": {key: {"VILA": 25.5} for key in keys},
                "_prompt_clip_score": {key: {"prompt": 20} for key in keys}}  # fmt: skip
        for suffix, content in side.items():
            (root / f"{shard:05d}{suffix}.json").write_text(json.dumps(content))
    write_index(root)
    return root


def keys(source: DataSource) -> list[str]:
    return [source[index].key for index in range(len(source))]


def problems(source: DataSource) -> list[tuple[str, str]]:
    return [(problem.key, problem.reason) for problem in source.problems]


ALL = ["0000", "0001", "0002", "1000", "1001", "1002"]


def test_shards_with_captions_and_scores(shards: Path) -> None:
    source = open_data(shards)
    assert (source.layout, source.problems, keys(source)) == ("wids", (), ALL)
    for index, key in enumerate(ALL):
        assert source[index].captions == (
            Caption(source="prompt", text=f"p{key}", score=20.0), Caption(source="Intern", text=f"i{key}"),
            Caption(source="VILA", text=f"v{key}", score=25.5),
        )  # fmt: skip
        assert (source[index].width, source[index].height) == source.image(index).size == (20 + index % 3, 16)
    with tarfile.open(shards / "00001.tar") as archive:
        assert source.read_bytes(4) == archive.extractfile("1001.png").read()  # type: ignore[union-attr]


def test_no_index_is_needed(shards: Path) -> None:
    (shards / "wids-meta.json").unlink()
    assert keys(open_data(shards)) == ALL
    (shards / "train").mkdir()
    for path in shards.glob("0*"):
        path.rename(shards / "train" / path.name)
    assert keys(open_data(shards)) == ALL


def test_plain_webdataset_with_texts(tmp_path: Path, picture: PictureBytes) -> None:
    write_tar(tmp_path / "x.tar", {
        "./a/1.jpg": picture(picture_format="JPEG"), "./a/1.txt": b"one\nmore", "./a/1.cls": b"7",
        "./a/._1.jpg": b"of macOS", "b.webp": picture(picture_format="WEBP"), "b.txt": b"caf\xe9",
    })  # fmt: skip
    source = open_data(tmp_path)
    assert keys(source) == ["a/1"]
    assert [caption.text for caption in source[0].captions] == ["one", "more"]
    assert problems(source) == [("b", "bad_record")]


def test_tars_that_were_glued_together_are_read_whole(shards: Path) -> None:
    (shards / "wids-meta.json").unlink()
    glued, other = shards / "00000.tar", shards / "00001.tar"
    whole = glued.read_bytes() + other.read_bytes()
    other.unlink()
    glued.write_bytes(whole)
    source = open_data(shards)
    assert keys(source) == ALL
    assert source.image(3).size == (20, 16)
    glued.write_bytes(whole[: -6 * 1024])  # in the middle of the second
    assert any("cut off" in problem.detail for problem in open_data(shards).problems)


def test_a_second_opening_reads_the_remembered_index(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanakit.common.user_cache._SETTLED_SECONDS", 0.0)
    first = open_data(shards)
    assert len(list((user_cache_folder() / "shards").glob("*.json"))) == 2
    scanned: list[str] = []
    scan = contents.scan_shard
    monkeypatch.setattr(contents, "scan_shard", lambda path: scanned.append(path.name) or scan(path))
    again = open_data(shards)
    assert scanned == []
    assert [again[i] for i in range(6)] == [first[i] for i in range(6)]
    assert again.read_bytes(5) == first.read_bytes(5)
    facts = (shards / "00001.tar").stat()
    os.utime(shards / "00001.tar", ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    open_data(shards)
    assert scanned == ["00001.tar"]
    for path in (user_cache_folder() / "shards").iterdir():
        path.write_text("{broken")
    assert keys(open_data(shards)) == ALL


def test_a_shard_as_long_and_as_old_is_another_one(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions would go to other pictures."""
    monkeypatch.setattr("sanakit.common.user_cache._SETTLED_SECONDS", 0.0)
    open_data(shards)
    path = shards / "00001.tar"
    facts, content = path.stat(), path.read_bytes()
    renamed = content.replace(b"1002", b"1020")  # whose header has the same checksum
    (shards / "new").write_bytes(renamed)
    os.utime(shards / "new", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (shards / "new").replace(path)  # as rsync --times does
    assert keys(open_data(shards)) == [*ALL[:-1], "1020"]
    path.write_bytes(content)  # as cp --preserve does
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert keys(open_data(shards)) == ALL
    monkeypatch.setattr("sanakit.common.user_cache._SETTLED_SECONDS", 1e9)  # a change would not show in the times
    path.write_bytes(renamed)
    assert keys(open_data(shards)) == [*ALL[:-1], "1020"]


def test_a_cache_that_cannot_be_written_costs_nothing(shards: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "file"))
    assert keys(open_data(shards)) == ALL


def test_reading_from_threads_and_another_process(shards: Path) -> None:
    source = open_data(shards)
    expected = [source.read_bytes(index) for index in range(6)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read_bytes, list(range(6)) * 20)) == expected * 20
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.read_bytes(index) for index in range(6)] == expected


def test_damaged_shards_are_told_and_the_rest_is_used(shards: Path) -> None:
    content = (shards / "00000.tar").read_bytes()
    with tarfile.open(shards / "00000.tar") as archive:
        cut = archive.getmember("0002.png").offset_data + 10
    (shards / "00000.tar").write_bytes(content[:cut])
    source = open_data(shards)
    assert keys(source) == ["0000", "0001", "1000", "1001", "1002"]
    found = {problem.key: problem for problem in source.problems}
    assert found["00000.tar"].reason == "bad_shard"
    assert "holds 3 samples, and it holds 2" in found["00000.tar"].detail
    assert "cut off" in found["00000.tar"].detail


def test_faults_of_index_and_sidecars(shards: Path) -> None:
    shutil.copy(shards / "00001.tar", shards / "00002.tar")
    (shards / "00001_VILA.json").write_text('{"1000": ')
    (shards / "00001_Intern.json").unlink()
    (shards / "00000_VILA.json").write_text(json.dumps({"0000": {"VILA": ["no text"]}, "other": {"VILA": "x"}}))
    source = open_data(shards)
    assert keys(source) == ALL
    assert problems(source) == [
        ("0000", "bad_record"), ("00000_VILA.json", "bad_shard"), ("00001_Intern.json", "bad_shard"),
        ("00001_VILA.json", "bad_shard"), ("00002.tar", "bad_shard"),
    ]  # fmt: skip
    assert [caption.source for caption in source[0].captions] == ["prompt", "Intern"]
    assert [caption.source for caption in source[3].captions] == ["prompt"]


@pytest.mark.parametrize("index", ["{", "[]", '{"name": "x"}', '{"shardlist": [{"url": 5}]}', '{"shardlist": 3}'])
def test_a_broken_index_is_told_and_the_tars_are_used(shards: Path, index: str) -> None:
    (shards / "wids-meta.json").write_text(index)
    source = open_data(shards)
    assert keys(source) == ALL
    assert problems(source) == [("wids-meta.json", "bad_shard")]


def test_missing_empty_and_remote_shards(shards: Path) -> None:
    listed = [{"url": name, "nsamples": 3} for name in ("00000.tar", "00001.tar", "00007.tar", "https://x/y.tar")]
    write_index(shards, shardlist=[*listed, {"url": "empty.tar"}, {"url": "zero.tar"}, {"url": "gzip.tar"}])
    tarfile.open(shards / "empty.tar", "w").close()
    (shards / "zero.tar").write_bytes(b"")
    tarfile.open(shards / "gzip.tar", "w:gz").close()
    source = open_data(shards)
    assert keys(source) == ALL
    bad = {key for key, reason in problems(source) if reason == "bad_shard"}
    assert {"00007.tar", "https://x/y.tar", "empty.tar", "zero.tar", "gzip.tar"} <= bad


def test_broken_samples_in_a_shard(tmp_path: Path, picture: PictureBytes) -> None:
    write_tar(tmp_path / "00000.tar", {
        "good.png": picture(), "good.json": {"prompt": "fine"},
        "json.png": picture(), "json.json": b'{"prompt": ',
        "list.png": picture(), "list.json": b"[]",
        "alone.png": picture(), "lonely.json": {"prompt": "x"},
        "empty.png": picture(), "empty.json": {"prompt": "  "},
        "zero.png": b"", "zero.json": {"prompt": "x"},
        "both.png": picture(), "both.jpg": picture(9, 9, 0, "JPEG"), "both.json": {"prompt": "x"},
        "latent.npy": npy(np.zeros((32, 2, 2), np.float32)), "latent.json": {"prompt": "x"},
    })  # fmt: skip
    source = open_data(tmp_path)
    assert keys(source) == ["both", "good"]
    assert (source[0].width, source[0].height) == (24, 16)
    assert problems(source) == [
        ("alone", "missing_caption"), ("both", "duplicate_key"), ("empty", "empty_caption"), ("json", "bad_record"),
        ("latent", "bad_record"), ("list", "bad_record"), ("lonely", "missing_image"), ("zero", "undecodable"),
    ]  # fmt: skip


def test_keys_that_begin_anew_in_every_shard(tmp_path: Path, picture: PictureBytes) -> None:
    for shard in range(2):
        files = {"0.png": picture(8, 8, shard), "0.json": {"prompt": f"of {shard}"}}
        write_tar(tmp_path / f"{shard:05d}.tar", files)
    source = open_data(tmp_path)
    assert {source[i].key: source[i].captions[0].text for i in range(2)} == {"0": "of 0", "00001/0": "of 1"}
    assert problems(source) == [("00001.tar", "duplicate_key")]


def test_a_shard_that_vanishes_or_shrinks_is_one_sentence(shards: Path) -> None:
    source = open_data(shards)
    os.truncate(shards / "00000.tar", 600)
    with pytest.raises(PictureError, match="ends early"):
        source.read_bytes(1)
    (shards / "00001.tar").unlink()
    with pytest.raises(PictureError, match="cannot be read"):
        source.image(4)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def feature_files() -> dict[str, Any]:
    latent = np.arange(32 * 4 * 6, dtype=np.float32).reshape(32, 4, 6)
    mask = np.array([1, 1, 0], np.int16).reshape(1, 1, 3)
    return {
        "a.npy": npy(latent), "a.json": {"prompt": "one", "width": 200, "height": 130},
        "b.npy": npy(latent[None].astype(np.float16)),
        "b.npz": npz(caption_feature=np.ones((1, 3, 8)), attention_mask=mask),
        "c.npy": npy(latent), "c.txt": b"three", "c.npz": b"broken",
        "d.npy": npy(latent[0]), "d.txt": b"x", "e.npy": npy(np.zeros((32, 2, 2), np.int64)), "e.txt": b"x",
        "f.npy": b"no array", "f.txt": b"x", "g.npy": npy(latent), "h.npz": npz(caption_feature=np.ones((1, 3, 8))),
    }  # fmt: skip


@pytest.mark.parametrize("in_shards", [True, False])
def test_cached_features(tmp_path: Path, in_shards: bool) -> None:
    files = feature_files()
    if in_shards:
        write_tar(tmp_path / "00000.tar", files)
        write_index(tmp_path, shardlist=[{"url": "00000.tar"}])
    else:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            (tmp_path / name).write_bytes(data)
    source = open_data(tmp_path)
    assert (source.layout, source.has_latents(), keys(source)) == ("features", True, ["a", "b", "c"])
    assert [(source[i].width, source[i].height) for i in range(3)] == [(200, 130), (192, 128), (192, 128)]
    assert source.latent(0).dtype == np.float32
    assert np.array_equal(source.latent(0), source.latent(1).astype(np.float32))
    assert source.latent(1).shape == (32, 4, 6)
    assert source.text_features(0) is None
    features = source.text_features(1)
    assert features is not None
    assert features.embeds.shape == (3, 8)
    assert features.mask.tolist() == [True, True, False]
    assert problems(source) == [
        ("d", "undecodable"), ("e", "undecodable"), ("f", "undecodable"), ("g", "missing_caption"),
        ("h", "missing_image"),
    ]  # fmt: skip
    with pytest.raises(PictureError, match="text features"):
        source.text_features(2)
    with pytest.raises(PictureError, match="no pictures"):
        source.image(0)


class Touches:
    """What a pickle of it does when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_pickled_arrays_are_refused_and_not_opened(tmp_path: Path) -> None:
    evil = np.empty((1, 2, 2), object)
    evil[:] = Touches(tmp_path / "ran")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "a.npy", evil, allow_pickle=True)
    np.save(tmp_path / "data" / "b.npy", np.zeros((4, 2, 2), np.float32))
    np.savez(tmp_path / "data" / "b.npz", caption_feature=evil)
    for name in "ab":
        (tmp_path / "data" / f"{name}.txt").write_text("a cat")
    source = open_data(tmp_path / "data")
    for name in ("a.npy", "b.npz"):
        content = (tmp_path / "data" / name).read_bytes()
        reader = read_latent if name == "a.npy" else read_text_features
        with pytest.raises(PictureError, match=f"{name} cannot be read"):
            reader(content, name)
    assert keys(source) == ["b"]
    with pytest.raises(PictureError, match="text features"):
        source.text_features(0)
    assert not (tmp_path / "ran").exists()


def test_latents_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    latent = np.zeros((4, 2, 2), np.float32)
    latent[1, 1, 1] = np.nan
    (tmp_path / "a.npy").write_bytes(npy(latent))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(PictureError, match="not finite"):
        open_data(tmp_path).latent(0)


def test_files_in_shards_that_no_reader_takes_are_counted(tmp_path: Path, picture: PictureBytes) -> None:
    sample = {"1.png": picture(), "1.txt": b"red", "1.cls": b"7", "._1.png": b"of a Mac"}
    write_tar(tmp_path / "a.tar", sample)
    write_tar(tmp_path / "b.tar", {"2.cls": b"8", "inner.tar": (tmp_path / "a.tar").read_bytes()})
    for _ in range(2):  # the second time as remembered
        assert open_data(tmp_path).unused_files == (
            "2 .cls files inside shards, in a.tar for one: no such file is read",
            "1 .tar files inside shards, in b.tar for one: shards in shards are not opened; unpack them",
        )
