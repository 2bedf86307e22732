"""Files of weights, whole and broken: each broken one is refused in one sentence that names it."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sanakit.checkpoints.files import writer
from sanakit.checkpoints.files.reader import TensorInfo, find_weight_files, read_header, read_json, read_tensors
from sanakit.common.errors import CheckpointError


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/sanakit-was-here",)


def good(path: Path) -> bytes:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    save_file(tensors, path, metadata={"x": "y"})
    return path.read_bytes()


def test_header_and_tensors_of_a_good_file(tmp_path: Path) -> None:
    good(tmp_path / "w.safetensors")
    header = read_header([tmp_path / "w.safetensors"])
    assert header.metadata == {"x": "y"}
    assert header.tensors["b"] == TensorInfo("bfloat16", (2,), 4)
    assert read_tensors([tmp_path / "w.safetensors"])["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("key", ["state_dict", "state_dict_ema", None])
def test_upstream_archives_are_read_with_weights_only(tmp_path: Path, key: str | None, wrapper: str) -> None:
    state = {f"{wrapper}a": torch.ones(2), f"{wrapper}b": torch.zeros(3)}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "w.pth")
    assert list(read_tensors([tmp_path / "w.pth"])) == ["a", "b"]


def broken_files(path: Path) -> dict[str, bytes]:
    whole = good(path)
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 99]}}).encode()
    return {
        "is empty": b"",
        "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "web page": b"<!DOCTYPE html><html>sign in</html>",
        "GGUF": b"GGUF" + bytes(100),
        "bare pickle": pickle.dumps(RunsCode()),
        "should have": whole[:-3],
        "cut short or corrupt": whole[:20],
        "corrupt safetensors header": struct.pack("<Q", 9) + b"{notjson}",
        "has a corrupt safetensors header": struct.pack("<Q", 200_000) + b'{"a":' * 40_000,
        "it should have 1": struct.pack("<Q", len(header)) + header,
        "no file of weights": b"hello, this is a text",
    }


@pytest.mark.parametrize("sentence", [
    "is empty", "git-lfs pointer", "web page", "GGUF", "bare pickle", "should have", "cut short or corrupt",
    "corrupt safetensors header", "has a corrupt safetensors header", "it should have 1", "no file of weights",
])  # fmt: skip
def test_a_broken_file_is_told_in_one_sentence(tmp_path: Path, sentence: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(broken_files(path)[sentence])
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_tensors([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_with_code_is_not_opened(tmp_path: Path) -> None:
    marker = Path("/tmp/sanakit-was-here")
    marker.unlink(missing_ok=True)
    torch.save({"state_dict": RunsCode()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"asks for posix.system, which may run code"):
        read_tensors([tmp_path / "w.pth"])
    assert not marker.exists()


def test_a_zip_is_no_safetensors_and_not_every_zip_is_weights(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="under a false name"):
        read_tensors([tmp_path / "w.safetensors"])
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(CheckpointError, match="not an archive of tensors"):
        read_tensors([tmp_path / "w.pth"])
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read_tensors([tmp_path / "w.pth"])
    torch.save({"a": torch.ones(1000)}, tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cut short"):
        read_tensors([tmp_path / "w.pth"])


def test_shards_are_found_by_their_index_and_must_all_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_SHARD_BYTES", 900)
    tensors = {f"t{i}": torch.full((100,), float(i)) for i in range(5)}
    writer.write_weights(tmp_path, tensors, {"k": "v"})
    files = find_weight_files(tmp_path)
    assert [path.name for path in files] == [f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert all(torch.equal(read_tensors(files)[name], tensor) for name, tensor in tensors.items())
    files[1].unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of 3 shards"):
        find_weight_files(tmp_path)


@pytest.mark.parametrize("listed", ["null", "[1]", "{}", '{"a": 1}', '{"a": ["b"]}', '{"a": "../b"}'])
def test_an_index_that_names_no_files_is_told_as_that(tmp_path: Path, listed: str) -> None:
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_text(f'{{"weight_map": {listed}}}')
    with pytest.raises(CheckpointError, match="does not name the files of its shards"):
        find_weight_files(tmp_path)


def test_variants_are_named_when_the_wanted_one_is_missing(tmp_path: Path) -> None:
    writer.write_safetensors(tmp_path / "diffusion_pytorch_model.fp16.safetensors", {"a": torch.ones(1)}, {})
    assert find_weight_files(tmp_path, variant="fp16")[0].name == "diffusion_pytorch_model.fp16.safetensors"
    with pytest.raises(CheckpointError, match=r"variant='bf16'; it holds diffusion_pytorch_model.fp16.safetensors"):
        find_weight_files(tmp_path, variant="bf16")


def with_header(path: Path, header: object, data: bytes) -> Path:
    content = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)
    return path


def test_metadata_as_other_writers_leave_it(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    for metadata in (None, {}):
        path = with_header(tmp_path / "w.safetensors", {"__metadata__": metadata, "a": entry}, bytes(4))
        assert read_header([path]).metadata == {}
        assert read_tensors([path])["a"].tolist() == [0.0]
    for metadata in ({"step": 1}, {"step": None}, [1], "text"):
        with_header(path, {"__metadata__": metadata, "a": entry}, bytes(4))
        with pytest.raises(CheckpointError, match="__metadata__ that is no mapping of texts"):
            read_header([path])


def test_links_to_nothing_are_told_as_that(tmp_path: Path) -> None:
    link = tmp_path / "diffusion_pytorch_model.safetensors"
    link.symlink_to("../../blobs/gone")
    for read in (lambda: find_weight_files(tmp_path), lambda: read_tensors([link]), lambda: read_json(link)):
        with pytest.raises(CheckpointError, match=r"is a link to ../../blobs/gone, which is not there; .*fetch"):
            read()


def test_missing_and_unreadable_places(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_tensors([tmp_path / "nothing.safetensors"])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors([tmp_path])


def test_memory_that_ran_out_is_no_damage_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under ``ulimit -v``."""

    def no_room(*_: object, **__: object) -> None:
        raise OSError("Cannot allocate memory (os error 12)")

    save_file({"a": torch.ones(2)}, path := tmp_path / "a.safetensors")
    monkeypatch.setattr("mmap.mmap", no_room)
    with pytest.raises(MemoryError):
        read_tensors([path])
