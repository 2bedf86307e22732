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
from sanakit.checkpoints.files.writer import write_safetensors, write_torch, written_aside
from sanakit.common.errors import OutputError, RequestError

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


def test_an_existing_target_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RequestError, match="exists already"), written_aside(target):
        pass
    with written_aside(target, force=True) as path:
        path.mkdir()
        (path / "new").touch()
    assert [item.name for item in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_inside_keeps_the_old_and_passes_on(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with pytest.raises(ZeroDivisionError), written_aside(tmp_path / "f", force=True) as path:
        path.write_text(f"half {1 / 0}")
    assert (tmp_path / "f").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"), written_aside(tmp_path / "file" / "model"):
        pass


def test_views_of_one_tensor_are_written_alone(tmp_path: Path) -> None:
    q, k = torch.arange(200_000.0).chunk(2)
    write_torch(tmp_path / "w.pth", {"q": q})
    assert (tmp_path / "w.pth").stat().st_size < 450_000
    write_safetensors(tmp_path / "w.safetensors", {"q": q, "k": k}, {})
    assert torch.equal(read_tensors([tmp_path / "w.safetensors"])["k"], k)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o044 == 0o044
