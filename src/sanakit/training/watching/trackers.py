"""Who is told of a run beside its own log: TensorBoard, Weights & Biases."""

from __future__ import annotations

import io
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from sanakit.common.config import to_mapping
from sanakit.common.errors import OutputError, optional
from sanakit.training.run.run_config import RunConfig


class Tracker(Protocol):
    """Is told numbers and pictures by step."""

    def scalars(self, values: Mapping[str, float], step: int) -> None: ...

    def pictures(self, name: str, grid: Image.Image, step: int) -> None: ...

    def close(self) -> None: ...


def build_trackers(config: RunConfig, folder: Path) -> list[Tracker]:
    """The trackers of a run; one that continues in the same folder goes on in the same curves.

    Args:
        config: says which, and is kept with the curves.
        folder: of the run, and its name; events are written to ``folder / "tensorboard"`` and ``folder / "wandb"``.

    Raises:
        MissingExtraError: a package is not installed.
    """
    built: list[Tracker] = []
    for kind in dict.fromkeys(config.log.report_to):
        if kind == "tensorboard":
            built.append(TensorBoardTracker(folder / "tensorboard"))
        else:
            built.append(WandbTracker(folder, to_mapping(config)))
    return built


class TensorBoardTracker:
    """Event files for TensorBoard, record by record: torch's writer would look for TensorFlow for seconds, and
    TensorBoard's own writes in a thread, whose errors nobody catches.

    The file begins with the first step that is reported, and a mark that hides what an earlier sitting reported from
    that step on: a run that lost some steps and makes them again shows them once.

    Args:
        folder: of the events of all sittings.
    """

    def __init__(self, folder: Path) -> None:
        needed = "report_to: tensorboard needs the package tensorboard; install it with: pip install 'sanakit[train]'"
        self._events = optional("tensorboard.compat.proto.event_pb2", needed)
        self._summaries = optional("tensorboard.compat.proto.summary_pb2", needed)
        self._records = optional("tensorboard.summary.writer.record_writer", needed).RecordWriter
        self._folder = folder
        self._writer: Any = None  # made with the first event

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point per curve."""
        value = self._summaries.Summary.Value
        self._write([value(tag=name, simple_value=number) for name, number in values.items()], step)

    def pictures(self, name: str, grid: Image.Image, step: int) -> None:
        """A picture, stored as PNG."""
        buffer = io.BytesIO()
        grid.convert("RGB").save(buffer, "PNG")
        image = self._summaries.Summary.Image(
            height=grid.height, width=grid.width, colorspace=3, encoded_image_string=buffer.getvalue()
        )
        self._write([self._summaries.Summary.Value(tag=name, image=image)], step)

    def close(self) -> None:
        """Write out what waits."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with _said_plainly(self._folder):
                writer.close()

    def _write(self, values: list[Any], step: int) -> None:
        event, now = self._events.Event, time.time()
        with _said_plainly(self._folder):
            if self._writer is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                place = f"{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"  # files are read in the order of names
                name = f"events.out.tfevents.{int(now):010d}.{place}"
                self._writer = self._records((self._folder / name).open("wb"))
                start = self._events.SessionLog(status=self._events.SessionLog.START)
                for first in ({"file_version": "brain.Event:2"}, {"step": step, "session_log": start}):
                    self._writer.write(event(wall_time=now, **first).SerializeToString())
            summary = self._summaries.Summary(value=values)
            self._writer.write(event(wall_time=now, step=step, summary=summary).SerializeToString())
            self._writer.flush()


class WandbTracker:
    """Weights & Biases, set up by its own environment (``WANDB_MODE=offline``, ``WANDB_PROJECT`` ...).

    The run's identity is kept in ``folder / "wandb-run"``, so that another sitting continues it; points that the
    service has already are not taken twice.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        needed = "report_to: wandb needs the package wandb; install it with: pip install wandb"
        self._wandb = optional("wandb", needed)
        self._run = self._wandb.init(
            id=_identity(folder / "wandb-run"), resume="allow", name=folder.name, dir=str(folder), config=dict(config)
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def pictures(self, name: str, grid: Image.Image, step: int) -> None:
        self._run.log({name: self._wandb.Image(grid)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _identity(path: Path) -> str:
    """What the file says, else a new name that is written there."""
    try:
        if path.is_file() and (known := path.read_text(encoding="utf-8").strip()):
            return known
        path.parent.mkdir(parents=True, exist_ok=True)
        identity = secrets.token_hex(6)
        path.write_text(identity + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the identity of the W&B run cannot be kept in {path} ({error.strerror})") from error
    return identity


@contextmanager
def _said_plainly(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"events for TensorBoard cannot be written to {folder} ({error})") from error
