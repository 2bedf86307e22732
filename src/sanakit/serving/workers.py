"""Lanes as processes: one loads the model and divides itself, so that weights are in memory once."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess

import torch

from sanakit.common.errors import SanakitError
from sanakit.pipelines.decoding.previews import Projection, fit_projection
from sanakit.pipelines.text_to_image import TextToImagePipeline, model_reference
from sanakit.serving.lane import Lane
from sanakit.serving.messages import FromLane, Lost, Stop, ToLane

logger = logging.getLogger(__name__)

_AGAIN_AFTER = 5.0  # seconds after which a lane is tried to be had again

Load = Callable[[], TextToImagePipeline]
"""Gives the pipeline of a model; can be sent to another process."""


class WorkerLane:
    """A lane at the other end of a connection; ``pid`` is its process."""

    def __init__(self, connection: Connection, slots: int, pid: int | None = None) -> None:
        self.connection, self.slots, self.pid = connection, slots, pid

    def send(self, message: ToLane) -> None:
        """To a lane that ended nothing is sent; that is noticed where it is heard."""
        with suppress(BrokenPipeError, ConnectionResetError, OSError):
            self.connection.send(message)

    def kill(self) -> None:
        """Whatever it does; one that has ended is no error."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)


class Workers:
    """Lanes of one model, each a process with CPU threads of its own; those that end are replaced.

    On Linux and the CPU a process without threads, the nursery, loads the model and then divides itself into lanes;
    elsewhere every lane loads by itself.

    Args:
        load: gives the pipeline, in a process of its own.
        num_lanes: how many; one on an accelerator.
        threads: of the CPU in each.
        slots: pictures of one size that share a call of the network.
    """

    def __init__(
        self, load: Load, *, num_lanes: int, threads: int, slots: int = 1, divides: bool | None = None
    ) -> None:
        self._load, self._num_lanes, self._threads, self._slots = load, num_lanes, threads, slots
        self._divides = sys.platform == "linux" if divides is None else divides
        self._lanes: list[WorkerLane] = []
        self._leaving: list[WorkerLane] = []
        self._started_once, self._again = False, 0.0
        self._nursery: tuple[BaseProcess, Connection] | None = None
        self._woken, self._waker = Pipe(duplex=False)
        self._wake_lock = threading.Lock()

    def start(self) -> None:
        """Load, and have all lanes.

        Raises:
            SanakitError: the model cannot be loaded.
        """
        for _ in range(self._num_lanes):
            self._lanes.append(self._new_lane())
        self._started_once = True

    def messages(self, timeout: float | None) -> Iterator[tuple[WorkerLane, FromLane]]:
        if self._lacking:
            self._fill()
            timeout = _AGAIN_AFTER if timeout is None else min(timeout, _AGAIN_AFTER)
        lanes = {lane.connection: lane for lane in (*self._lanes, *self._leaving)}
        ready = wait([self._woken, *lanes], timeout)
        for connection in ready:
            if connection is self._woken:
                self._woken.recv_bytes()
                continue
            assert isinstance(connection, Connection)
            lane = lanes[connection]
            try:
                yield lane, connection.recv()
            except (EOFError, ConnectionResetError, OSError):
                self._replace(lane)
                yield lane, Lost()

    def wake(self) -> None:
        with self._wake_lock:
            if not self._woken.poll(0):
                self._waker.send_bytes(b".")

    def alive(self) -> Sequence[WorkerLane]:
        return self._lanes

    def fresh(self) -> Workers:
        """As many lanes with the model as it is in its files now; raises as ``start``."""
        workers = Workers(
            self._load, num_lanes=self._num_lanes, threads=self._threads, slots=self._slots, divides=self._divides
        )
        workers.start()
        return workers

    def renew(self, fresh: Workers) -> None:
        """From now on pictures go to those lanes; ours finish what they have. In the engine's thread."""
        self._leaving += self._lanes
        self._close_nursery()
        self._lanes, self._nursery = fresh._lanes, fresh._nursery

    def replace(self, lane: object) -> None:
        for own in [own for own in (*self._lanes, *self._leaving) if own is lane]:
            own.kill()
            self._replace(own)

    def dismiss(self, busy: Collection[object]) -> None:
        for lane in [lane for lane in self._leaving if lane not in busy]:
            self._leaving.remove(lane)
            self._end(lane)

    def close(self) -> None:
        """End all lanes."""
        for lane in (*self._lanes, *self._leaving):
            self._end(lane)
        self._lanes, self._leaving, self._started_once = [], [], False
        self._close_nursery()

    def _end(self, lane: WorkerLane) -> None:
        lane.send(Stop())
        lane.connection.close()

    def _close_nursery(self) -> None:
        if self._nursery is not None:
            self._nursery[1].close()
            self._nursery[0].join(5)
            self._nursery = None

    def _replace(self, lane: WorkerLane) -> None:
        logger.warning("a lane has ended; another takes its place")
        lane.connection.close()
        if lane in self._leaving:
            self._leaving.remove(lane)
            return
        self._lanes.remove(lane)
        self._fill()

    @property
    def _lacking(self) -> int:
        return max(self._num_lanes - len(self._lanes), 0) if self._started_once else 0

    def _fill(self) -> None:
        """Lanes in the place of those that ended; where there is none, as when memory is short, a little later."""
        if time.monotonic() < self._again:
            return
        try:
            for _ in range(self._lacking):
                self._lanes.append(self._new_lane())
        except (SanakitError, OSError) as error:
            logger.warning("there is no lane in the place of one that ended: %s", error)
            self._again = time.monotonic() + _AGAIN_AFTER

    def _new_lane(self) -> WorkerLane:
        if not self._divides:
            process, connection = self._started()
            return WorkerLane(connection, self._slots, process.pid)
        for attempt in (1, 2):
            self._nursery = self._nursery or self._started()
            ours, theirs = Pipe()
            try:
                reduction.send_handle(self._nursery[1], theirs.fileno(), self._nursery[0].pid)
                return WorkerLane(ours, self._slots, self._nursery[1].recv())
            except (OSError, EOFError):
                logger.warning("the process that lanes come from has ended; it is started again")
                self._nursery = None
                if attempt == 2:
                    raise SanakitError("the process that lanes come from ends as soon as it is started") from None
            finally:
                theirs.close()
        raise AssertionError("the second attempt has raised")

    def _started(self) -> tuple[BaseProcess, Connection]:
        """A process that has loaded the model."""
        ours, theirs = Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_begin, args=(theirs, self._load, self._threads, self._divides), daemon=True)
        process.start()
        theirs.close()
        try:
            problem = ours.recv()
        except EOFError:
            problem = SanakitError(f"the process that loads the model has ended (exit code {process.exitcode})")
        if problem is not None:
            process.join()
            raise problem
        return process, ours


def _begin(connection: Connection, load: Load, threads: int, divides: bool) -> None:
    """The life of a process that loads: told with None, or with why not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the server; its end is ours
    torch.set_num_threads(1 if divides else threads)  # a process with threads cannot be divided
    try:
        pipeline = load()
        previews = fit_previews(pipeline)
        model_reference(pipeline.bundle)  # the hash of its weights, once for all
    except Exception as error:
        connection.send(
            error if isinstance(error, SanakitError) else SanakitError(f"the model cannot be loaded: {error}")
        )
        return
    connection.send(None)
    if divides:
        _divide(connection, pipeline, previews, threads)
    else:
        Lane(pipeline, connection, previews, beside=pipeline.device.type != "cpu").run()


def _divide(connection: Connection, pipeline: TextToImagePipeline, previews: Projection | None, threads: int) -> None:
    """A lane for every connection that comes, until the server is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # lanes that end are forgotten by the system
    gc.freeze()  # what is here by now is not looked at again, and so stays one in memory
    while True:
        try:
            handle = reduction.recv_handle(connection)
        except (EOFError, OSError):
            return
        if pid := os.fork():
            os.close(handle)
            connection.send(pid)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        connection.close()
        torch.set_num_threads(threads)
        status = 1
        try:
            Lane(pipeline, Connection(handle), previews).run()
            status = 0
        except BaseException:
            logger.exception("a lane ends")
        finally:
            os._exit(status)


def fit_previews(pipeline: TextToImagePipeline) -> Projection:
    """Of the pipeline's autoencoder."""
    with torch.no_grad():
        return fit_projection(pipeline.encode)
