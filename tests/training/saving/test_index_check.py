"""A run folder from somebody else holds numbers, and runs nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from sanakit.common.errors import CheckpointError
from sanakit.common.ranks import Ranks
from sanakit.training.saving.checkpoint import load_tensors, save_checkpoint, saved_names


class Evil:
    """What a pickle calls when it is opened."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tensors = {"a": torch.ones(3, 4), "b": torch.ones(2, dtype=torch.bfloat16), "c": torch.zeros((), dtype=torch.int64)}
    tensors |= {f"rng.{index}": torch.zeros(5, dtype=torch.uint8) for index in range(300)}
    return save_checkpoint(tmp_path, tensors, {"step": 1}, ranks=Ranks())


def test_what_torch_writes_is_read(checkpoint: Path) -> None:
    assert {"a", "b", "c"} < saved_names(checkpoint)
    tensors = {"a": torch.zeros(3, 4), "b": torch.zeros(2, dtype=torch.bfloat16)}
    load_tensors(checkpoint, tensors, ranks=Ranks())
    assert tensors["a"].sum() == 12


@pytest.mark.parametrize("call", [os.system, subprocess.Popen, eval, torch.load])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_an_index_is_not_run(checkpoint: Path, call: Any, protocol: int, tmp_path: Path) -> None:
    import pickle

    flag = tmp_path / "owned"
    words = f"touch {flag}" if call is os.system else f"open({str(flag)!r}, 'w')"
    content = pickle.dumps({"state_dict_metadata": {"a": Evil(call, words)}}, protocol=protocol)
    (checkpoint / ".metadata").write_bytes(content)
    for read in (lambda: saved_names(checkpoint), lambda: load_tensors(checkpoint, {}, ranks=Ranks())):
        with pytest.raises(CheckpointError, match="could run code when it is opened"):
            read()
    assert not flag.exists()


def test_a_damaged_index_is_one_sentence(checkpoint: Path) -> None:
    content = (checkpoint / ".metadata").read_bytes()
    for damaged in (b"", content[:100], b"\x80\x04h\x05."):
        (checkpoint / ".metadata").write_bytes(damaged)
        with pytest.raises(CheckpointError):
            saved_names(checkpoint)
