"""Files of torch.save as training scripts leave them: the tensors are read, and nothing else is made or run."""

from __future__ import annotations

import argparse
import collections
import enum
import logging
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sanakit.checkpoints.files.reader import read_header, read_tensors
from sanakit.common.errors import CheckpointError

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}


class Kind(enum.Enum):
    ONE = 1


class Settings(dict[str, Any]):
    """As of easydict, omegaconf or Lightning."""


class Runs:
    """What a hostile file holds: a call of any function, made as it is opened."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.reduced = call, args

    def __reduce__(self) -> Any:
        return self.reduced


BESIDE = {
    "generators": lambda: {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()},
    "arguments": lambda: argparse.Namespace(lr=1e-4, work_dir=Path("output"), kind=Kind.ONE),
    "mappings": lambda: Settings(a=collections.defaultdict(list, b=[1]), c=collections.deque([1, 2]), d={Kind.ONE: 1}),
    "numbers": lambda: {"loss": np.float64(0.5), "history": np.zeros(3), "seen": {1, 2}, "name": b"run"},
    "a function": lambda: os.path.join,
}


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_the_weights_is_passed_over(
    tmp_path: Path, name: str, protocol: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    content = {"state_dict": torch.nn.ParameterDict(STATE).state_dict(), "epoch": 1, "beside": BESIDE[name]()}
    torch.save(content, tmp_path / "epoch_1_step_1000.pth", pickle_protocol=protocol)
    tensors = read_tensors([tmp_path / "epoch_1_step_1000.pth"])
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {"a": torch.float32, "b": torch.bfloat16}
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)
    if name != "a function":
        assert "only the tensors of" in caplog.text


def test_a_state_in_a_mapping_of_its_own_kind_and_eight_bit_floats(tmp_path: Path) -> None:
    state = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in STATE.items()} | {
        "p": torch.nn.Parameter(STATE["a"])
    }
    torch.save({"state_dict": Settings(state), "args": argparse.Namespace()}, tmp_path / "w.ckpt")
    assert read_header([tmp_path / "w.ckpt"]).tensors["a"].dtype == "float8_e4m3fn"
    assert torch.equal(read_tensors([tmp_path / "w.ckpt"])["p"], STATE["a"])


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    calls = [
        Runs(os.system, f"touch {marker}"),
        Runs(os.mkdir, str(marker)),
        Runs(eval, f"open({str(marker)!r}, 'w')"),
        Runs(torch.storage._load_from_bytes, pickle.dumps(Runs(os.mkdir, str(marker)))),
        Runs(setattr, torch.Size, "broken", 1),
        Runs(map, os.mkdir, [str(marker)]),
    ]
    torch.save({"state_dict": STATE, "calls": calls}, tmp_path / "w.pth", pickle_protocol=protocol)
    assert sorted(read_tensors([tmp_path / "w.pth"])) == ["a", "b"]
    torch.save(calls, tmp_path / "none.pth", pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match=r"holds no tensors .*; it asks for .*, which may run code") as caught:
        read_tensors([tmp_path / "none.pth"])
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_an_archive_cannot_change_what_it_may_call(tmp_path: Path) -> None:
    """The state of a pickled object is set on whatever the file names, a function among them."""

    stored = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00xK\x01sb."
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    rewrite_pickle(tmp_path / "w.pth", stored)
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read_tensors([tmp_path / "w.pth"])
    assert not hasattr(torch._utils._rebuild_tensor_v2, "x")


def rewrite_pickle(path: Path, content: bytes) -> None:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            archive.writestr(name, content if name.endswith("data.pkl") else value)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"holds no tensors .*Linear"):
        read_tensors([tmp_path / "w.pt"])


def test_the_form_before_archives_is_read_and_runs_nothing(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors([tmp_path / "old.bin"])["a"], STATE["a"])
    hostile = {"state_dict": STATE, "x": Runs(os.mkdir, str(tmp_path / "ran"))}
    torch.save(hostile, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"asks for posix.mkdir, which may run code"):
        read_tensors([tmp_path / "old.bin"])
    assert not (tmp_path / "ran").exists()


def test_instructions_that_would_unpack_to_any_size_are_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}." + bytes(1_000_000))
    with pytest.raises(CheckpointError, match="it was packed again, with compression"):
        read_tensors([tmp_path / "w.pth"])


def test_an_empty_mapping_does_not_hide_the_weights(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "ema": STATE}, tmp_path / "w.pth")
    assert torch.equal(read_tensors([tmp_path / "w.pth"])["a"], STATE["a"])
