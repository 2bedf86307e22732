"""Nothing is half-written: a full disk, a missing right and an existing target leave things as they were."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from sanakit.checkpoints.files.reader import read_header, read_tensors
from sanakit.checkpoints.files.writer import write_safetensors, write_torch
from sanakit.common.errors import OutputError
from sanakit.common.files import written_aside

BIG = {"a": torch.zeros(200_000)}


def write_plain(path: Path, tensors: dict[str, Tensor]) -> None:
    write_safetensors(path, tensors, {})


@pytest.mark.parametrize("write", [write_plain, write_torch])
def test_a_full_disk_leaves_nothing(tmp_path: Path, write: Callable[[Path, dict[str, Tensor]], None]) -> None:
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the nearest thing to a full disk without a disk
    try:
        with pytest.raises(OutputError, match="could not be written"), written_aside(tmp_path / "new" / "w") as path:
            write(path, BIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "new").iterdir()) == []


def test_views_of_one_tensor_are_written_alone(tmp_path: Path) -> None:
    q, k = torch.arange(200_000.0).chunk(2)
    write_torch(tmp_path / "w.pth", {"q": q})
    assert (tmp_path / "w.pth").stat().st_size < 450_000
    write_safetensors(tmp_path / "w.safetensors", {"q": q, "k": k}, {})
    assert torch.equal(read_tensors([tmp_path / "w.safetensors"])["k"], k)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o044 == 0o044


def test_two_names_of_one_tensor_are_written_as_two(tmp_path: Path) -> None:
    """Tied weights, or a block that is used twice."""
    tied = torch.arange(6.0)
    tensors = {"a": tied, "b": tied, "turned": tied.view(2, 3).T, "half": tied[:3], "none": torch.empty(0)}
    write_safetensors(tmp_path / "w.safetensors", tensors, {})
    write_torch(tmp_path / "w.pth", tensors)
    for name in ("w.safetensors", "w.pth"):
        read = read_tensors([tmp_path / name])
        assert all(torch.equal(read[key], tensors[key]) for key in tensors)
    read["a"][0] = 7.0
    assert read["b"][0] == 0.0


def test_the_same_bytes_each_time_and_under_each_name(tmp_path: Path) -> None:
    metadata = {f"key {i}": 'a "text"\n\x1f\x7f é 猫 \u2028 😀 \\ /' * i for i in range(9)}
    for write, suffix in (
        (lambda *arguments: write_safetensors(*arguments, metadata), "safetensors"),
        (write_torch, "pth"),
    ):
        contents = set()
        for number in range(5):
            path = tmp_path / f"{number}.{suffix}"
            write(path, {"a": torch.ones(3), "b": torch.zeros(2, dtype=torch.float16)})
            contents.add(path.read_bytes())
        assert len(contents) == 1
    assert read_header([tmp_path / "0.safetensors"]).metadata == {"format": "pt", **metadata}
    assert safe_open(tmp_path / "0.safetensors", framework="pt").metadata() == {"format": "pt", **metadata}
