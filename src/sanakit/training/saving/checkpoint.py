"""Saved states of a run: torch distributed checkpoints that are whole or not there.

``checkpoints/step-00000120/`` holds the tensors (``.metadata``, ``*.distcp``), ``state.json`` with the position in
stage and data, and ``complete.json`` with the size and CRC-32 of every other file, written last.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from sanakit.common.config import check_format, json_values
from sanakit.common.errors import CheckpointError, OutputError, first_line
from sanakit.common.files import put_in_place
from sanakit.common.ranks import Ranks, agree, any_rank, wait_for_all
from sanakit.training.run.run_config import CheckpointConfig
from sanakit.training.saving.index_check import check_index

logger = logging.getLogger(__name__)

_COMPLETE, _STATE = "complete.json", "state.json"
FORMAT = 1
"""Of the state of a run, the newest that is read."""


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], *, ranks: Ranks) -> Path:
    """Write ``folder / "step-NNNNNNNN"`` aside, and rename it once all processes are done. All of them must call.

    Raises:
        OutputError: it could not be written, such as on a full disk; older checkpoints are as they were.
    """
    target = folder / f"step-{state['step']:08d}"
    building = target.with_name(target.name + ".tmp")
    reason: str | None = None
    try:
        if ranks.is_first:
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror
    if not any_rank(reason is not None, ranks):
        try:
            with _quietly():
                save(dict(tensors), storage_writer=FileSystemWriter(building), no_dist=ranks.world == 1)
            if ranks.is_first:
                _seal(building, state)
                put_in_place(building, target, sync=True)
        except (OSError, RuntimeError, CheckpointException) as error:
            reason = _reason(error)
    if any_rank(reason is not None, ranks):
        if ranks.is_first:
            shutil.rmtree(building, ignore_errors=True)
        last = newest(folder)
        kept = f"the last good one is {last}" if last else "there is no earlier one"
        raise OutputError(f"the checkpoint {target} could not be written ({reason or 'on another process'}); {kept}")
    wait_for_all(ranks)
    return target


def find_checkpoint(folder: Path, ranks: Ranks) -> Path | None:
    """The newest whole checkpoint, the same on all processes; None if nothing was saved. Broken ones are warned of.

    Raises:
        CheckpointError: none is whole: to begin anew and write over what is there is not for the program to decide.
    """
    step = -1
    if ranks.is_first:
        for path in _by_step(folder):
            step = -2
            problem = damage(path)
            if problem is None:
                step = _step(path)
                break
            logger.warning("the checkpoint %s is not whole (%s); an older one is tried", path, problem)
    step = int(agree(step, ranks))
    if step == -2:
        raise CheckpointError(
            f"none of the checkpoints in {folder} is whole, so the run cannot go on; delete that folder to begin anew, "
            f"or give another --output"
        )
    return None if step < 0 else folder / f"step-{step:08d}"


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, in words; None if they are as they were written."""
    try:
        files = json_values((path / _COMPLETE).read_text())["files"]
        for name, written in files.items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != written["size"]:
                return f"{name} has {file.stat().st_size} bytes of {written['size']}"
            if _crc32(file) != written["crc32"]:
                return f"{name} has changed since it was written"
    except OSError as error:
        return f"{_COMPLETE} cannot be read, {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_COMPLETE} is not readable"
    return None


def read_state(path: Path) -> dict[str, Any]:
    """The plain values of a checkpoint.

    Raises:
        CheckpointError: a newer sanakit wrote it.
    """
    content: dict[str, Any] = json_values((path / _STATE).read_text())
    check_format(content, FORMAT, f"the state of the run in {path}", error=CheckpointError)
    return content


def saved_names(path: Path) -> set[str]:
    """Names of the tensors of a checkpoint."""
    return set(_reader(path).read_metadata().state_dict_metadata)


def load_tensors(path: Path, tensors: dict[str, Tensor], *, ranks: Ranks) -> None:
    """Fill ``tensors`` in place from a checkpoint that any number of processes wrote. All processes must call.

    Raises:
        CheckpointError: a tensor is missing or has another shape: the model or the optimiser is another one.
    """
    missing = sorted(set(tensors) - saved_names(path))
    if missing:
        raise CheckpointError(f"the checkpoint {path} lacks {len(missing)} tensors of this run, such as {missing[0]}")
    try:
        with _quietly():
            load(tensors, storage_reader=_reader(path), no_dist=ranks.world == 1)
    except (CheckpointException, RuntimeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint {path} does not fit this run ({_reason(error)})") from error


def _reader(path: Path) -> FileSystemReader:
    check_index(path / ".metadata")
    return FileSystemReader(path)


def prune(folder: Path, config: CheckpointConfig) -> None:
    """Delete what the rule does not keep, oldest first; only whole checkpoints count as kept ones."""
    paths = [path for path in _by_step(folder) if (path / _COMPLETE).is_file()]
    for path in reversed(paths[config.keep_last :]):
        if not config.keep_every_steps or _step(path) % config.keep_every_steps:
            shutil.rmtree(path, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The newest finished checkpoint, not read."""
    return next((path for path in _by_step(folder) if (path / _COMPLETE).is_file()), None)


def _by_step(folder: Path) -> list[Path]:
    """Newest first."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and p.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _seal(folder: Path, state: Mapping[str, Any]) -> None:
    (folder / _STATE).write_text(json.dumps({"format": FORMAT, **state}))
    files = {file.name: {"size": file.stat().st_size, "crc32": _crc32(file)} for file in sorted(folder.iterdir())}
    (folder / _COMPLETE).write_text(json.dumps({"step": state["step"], "files": files}, indent=1))


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            value = zlib.crc32(chunk, value)
    return value


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the warning that one process is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _reason(error: BaseException) -> str:
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)
