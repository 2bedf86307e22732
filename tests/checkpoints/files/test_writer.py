"""Nothing is half-written: a full disk, a missing right and an existing target leave things as they were."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.files.reader import read_tensors
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
