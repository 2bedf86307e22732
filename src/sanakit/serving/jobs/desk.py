"""Jobs on their way: accepted into the store, given to the engine in turn, and written down as they are finished."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sanakit.common.errors import OutputError, SanakitError
from sanakit.serving.engine import BusyError, LackError, StoppingError, Ticket
from sanakit.serving.errors import of_failure
from sanakit.serving.jobs.shelf import Presence, Shelf
from sanakit.serving.jobs.store import (
    CANCELLED,
    COMPLETED,
    FAILED,
    QUEUED,
    SINGLE,
    Job,
    JobStore,
    ReusedKeyError,
    StoredPicture,
    input_files,
    new_id,
)
from sanakit.serving.messages import Done, Failed, FromLane, Step
from sanakit.serving.service import Service
from sanakit.serving.wishes import Files, WishError

logger = logging.getLogger(__name__)

LEASE, HEARTBEAT = 30.0, 5.0  # seconds
AGAIN_AFTER = 5.0  # seconds after which a job is tried again that could not be written down
_PROGRESS_EVERY = 1.0  # seconds between two that are written down
_SWEEP_EVERY = 600.0  # seconds between two looks for jobs to be forgotten
_ADRIFT_AFTER = 3600.0  # seconds after which nobody lives who would say whose a file is

Listener = Callable[[Mapping[str, Any], "bytes | None"], None]
"""Told of a job's news: what happened, as JSON, and a preview."""
OnPicture = Callable[[bytes, Files], None]
"""Given the file of every picture that is finished and what came for it, at least once, before anybody hears of it."""


@dataclass(kw_only=True, eq=False)
class _Running:
    job: Job
    tickets: Sequence[Ticket]
    left: set[str]
    done_steps: dict[str, float] = field(default_factory=dict)  # share of a picture's steps
    written: float = 0.0

    @property
    def progress(self) -> float:
        return sum(self.done_steps.values()) / max(len(self.done_steps), 1)


class Desk:
    """Args:
    plan: gives plans and the call of a job's body, as an endpoint reads it.
    keep: seconds after which jobs that ended are forgotten.
    """

    def __init__(
        self,
        service: Service,
        store: JobStore,
        shelf: Shelf,
        presence: Presence,
        plan: Callable[[Mapping[str, Any], Files], tuple[Any, Any]],
        *,
        keep: float = 7 * 86_400.0,
        on_picture: OnPicture | None = None,
    ) -> None:
        self.service, self.store, self.shelf, self.keep = service, store, shelf, keep
        self._plan, self._on_picture = plan, on_picture
        self._presence = presence
        self._running: dict[str, _Running] = {}
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._listeners: dict[str, list[Listener]] = defaultdict(list)
        self._forgotten: set[str] = set()  # since the last sweep
        self._thread: threading.Thread | None = None
        self._open = True
        self._claims_after = 0.0
        self._lacks_room = False  # for files, when one was written last
        self.step_seconds: float | None = None  # of one step, lately
        service.metrics.watch("jobs_queued", "Jobs that wait.", self.num_queued)

    @property
    def owner(self) -> str:
        return self._presence.name

    def start(self) -> None:
        """Work on jobs, those of a process that ended first."""
        for owner in self._presence.gone():
            self.store.release(owner)
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write down what the engine has told to its end; what it handed back waits for the next process."""
        self._open = False
        self._news.put(lambda: None)
        if self._thread is not None:
            self._thread.join(30)
        try:
            self.store.release(self.owner)
        except OutputError as error:
            logger.warning("jobs go on as their leases have gone by: %s", error)
        self._presence.leave()

    def accept(self, job: Job, files: Files, idempotency: str | None = None) -> Job:
        """Remember a job, which was seen to be possible; from here on it will be done.

        Raises:
            OutputError: it cannot be written down.
            ReusedKeyError: the key came before with something else.
            BusyError: the server is about to stop.
        """
        if not self._open or not self.service.engine.accepting:
            raise StoppingError
        self._check_room()
        inputs = self._kept(files)
        new = replace(job, id=new_id(), inputs=inputs, created=time.time())
        try:
            found = self.store.accept(new, idempotency)
        except ReusedKeyError:
            self._remove(input_files(inputs))
            raise
        if found.id == new.id:
            self.store.settle(input_files(inputs))
        else:
            self._remove(input_files(inputs))
        self._news.put(lambda: None)
        return found

    def _check_room(self) -> None:
        """After a file could not be written nothing is begun until one can; raises OutputError."""
        if self._lacks_room:
            self.shelf.check()
            self._lacks_room = False

    def _kept(self, files: Files) -> dict[str, Any]:
        """Names of files that came with a job; all are kept, or none."""
        mask, clip = ([] if one is None else [one] for one in (files.mask, files.clip))
        groups = {"pictures": files.pictures, "mask": mask, "controls": files.controls, "clip": clip}
        named = {group: [self.shelf.new_name(content) for content in groups[group]] for group in groups}
        inputs = {**named, **{group: next(iter(named[group]), None) for group in SINGLE}}
        self.store.announce(input_files(inputs))
        try:
            for group, contents in groups.items():
                for name, content in zip(named[group], contents, strict=True):
                    self.shelf.put(content, name)
        except OutputError:
            self._remove(input_files(inputs))
            raise
        return inputs

    def _remove(self, files: Sequence[str]) -> None:
        """What cannot be removed stays adrift, so that the next sweep tries it again."""
        for file in files:
            try:
                self.shelf.remove([file])
            except OutputError as error:
                logger.warning("jobs: %s", error)
            else:
                self.store.settle([file])

    def cancel(self, job: Job) -> None:
        """End it; what runs ends between two steps."""

        def end() -> None:
            if (running := self._running.get(job.id)) is not None:
                for key in running.left:
                    self.service.engine.cancel(key)
            elif self.store.cancel(job.id, time.time()):
                self.shelf.drop_latents(job.id)
                self._tell(job.id, {"status": CANCELLED})

        self._news.put(end)

    def prioritise(self, job: Job, priority: int) -> None:
        """Let it come sooner or later."""
        self.store.prioritise(job.id, priority)
        for ticket in running.tickets if (running := self._running.get(job.id)) else ():
            self.service.engine.prioritise(ticket.key, priority)

    def forget(self, job: Job) -> bool:
        """Delete one that has ended, with its pictures."""
        self._remove(self.store.forget(math.inf, job.id))
        if self.store.get(job.id) is not None:
            return False
        self._forgotten.add(job.id)
        return True

    def listen(self, job: str, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` what happens to a job, in the desk's thread; gives the function that ends it."""
        self._listeners[job].append(listener)

        def end() -> None:
            self._listeners[job].remove(listener)
            if not self._listeners[job]:
                self._listeners.pop(job, None)

        return end

    def progress(self, job: Job) -> float:
        """From 0 to 1, as it is now."""
        running = self._running.get(job.id)
        return job.progress if running is None else running.progress

    def holds(self, job: Job) -> bool:
        """It is worked on here, so that whoever listens is told of every step."""
        return job.id in self._running

    def num_queued(self) -> float:
        """Jobs that wait; not a number where nobody can say."""
        try:
            return self.store.count(QUEUED)
        except OutputError:
            return math.nan

    def estimate(self, job: Job, steps_ahead: int) -> float | None:
        """Seconds until it is finished, by what steps took lately; None where none was made yet."""
        if self.step_seconds is None or job.has_ended:
            return None
        left = (1 - self.progress(job)) * job.steps + steps_ahead
        return left * self.step_seconds / max(len(self.service.lanes.alive()), 1)

    def _run(self) -> None:
        renewed = swept = -math.inf
        while self._open or self._running:
            try:
                now = time.monotonic()  # the clock of the day may jump
                if now - renewed > HEARTBEAT:
                    self._renew()
                    renewed = now
                if now - swept > _SWEEP_EVERY:
                    swept = now
                    self._sweep()
                self._take(0.5)
                while self._open and self._has_room() and self._claim():
                    pass
            except OutputError as error:
                logger.warning("jobs: %s", error)
                self._claims_after = time.monotonic() + AGAIN_AFTER
                time.sleep(0.2)
            except Exception:
                logger.exception("jobs go on after an error")
                time.sleep(0.2)

    def _renew(self) -> None:
        """Leases. What we have without knowing of it, as where the answer to a claim was lost, is given back; what is
        ours no more, as it was cancelled elsewhere or our lease went by, is let go."""
        ours = self.store.renew(self.owner, self.store.now() + LEASE)
        for job in ours - self._running.keys():
            self.store.release(self.owner, job)
        for running in [each for job, each in self._running.items() if job not in ours]:
            self._forsake(running)

    def _forsake(self, running: _Running) -> None:
        del self._running[running.job.id]
        for key in running.left:
            self.service.engine.cancel(key)
        now = self.store.get(running.job.id)
        if now is None or now.has_ended:
            self.shelf.drop_latents(running.job.id)
        self._tell(running.job.id, {"status": QUEUED if now is None else now.status})

    def _take(self, patience: float) -> None:
        """What came in since; waits for the first."""
        try:
            self._news.get(timeout=patience)()
            while True:
                self._news.get_nowait()()
        except queue.Empty:
            pass

    def _has_room(self) -> bool:
        """The engine gets little more than its lanes can hold, so that the order is the store's."""
        engine = self.service.engine
        waits = any(key in engine.waiting for running in self._running.values() for key in running.left)
        return engine.accepting and not waits and time.monotonic() >= self._claims_after

    def _claim(self) -> bool:
        self._check_room()
        now = self.store.now()
        job = self.store.claim(self.owner, self.service.name, now, now + LEASE)
        if job is None:
            return False
        try:
            self._begin(job)
        except (BusyError, OutputError) as error:
            logger.warning("job %s waits: %s", job.id, error)
            self.store.release(self.owner, job.id, self.store.now() + AGAIN_AFTER)
            self._claims_after = time.monotonic() + AGAIN_AFTER
            return False
        except SanakitError as error:
            self._fail(job, error)
        return True

    def _begin(self, job: Job) -> None:
        """Let the engine make those of its pictures that are not there yet."""
        plans, call = self._plan(job.fields, self._files(job))
        left = math.inf if (deadline := job.fields.get("deadline")) is None else job.created + deadline - time.time()
        call = replace(call, seconds=left, priority=job.priority)
        tickets = self.service.tickets(plans, call, partial(self._hear, job.id), name=job.id)
        there = {picture.number for picture in self.store.pictures(job.id)}
        missing = [ticket for number, ticket in enumerate(tickets) if number not in there]
        for ticket in missing:
            ticket.work = replace(ticket.work, latent=self.shelf.latent(ticket.key))
        running = _Running(job=job, tickets=tickets, left={ticket.key for ticket in missing})
        running.done_steps = {ticket.key: 0.0 if ticket in missing else 1.0 for ticket in tickets}
        self._running[job.id] = running
        if not missing:
            self._end(running, COMPLETED)
            return
        try:
            self.service.submit(missing)
        except Exception:
            del self._running[job.id]
            raise
        self._tell(job.id, {"status": "running"})

    def _files(self, job: Job) -> Files:
        """That came with it."""
        pictures, controls = (
            [self.shelf.get(name) for name in job.inputs.get(group, ())] for group in ("pictures", "controls")
        )
        mask, clip = (self.shelf.get(name) if (name := job.inputs.get(group)) else None for group in SINGLE)
        return Files(pictures, mask, controls, clip)

    def _hear(self, job: str, message: FromLane) -> None:
        """In the engine's thread, which is not to wait for a disk."""
        self._news.put(partial(self._heard, job, message))

    def _heard(self, job: str, message: FromLane) -> None:
        running = self._running.get(job)
        if running is None:
            return
        match message:
            case Step():
                self._stepped(running, message)
            case Done(key=key) if key in running.left:
                self._finished(running, message)
            case Failed():
                self._failed(running, message)

    def _stepped(self, running: _Running, step: Step) -> None:
        old = self.step_seconds
        self.step_seconds = step.seconds if old is None else 0.95 * old + 0.05 * step.seconds
        running.done_steps[step.key] = (step.index + 1) / (step.total + 1)  # decoding is a step too
        number = int(step.key.rpartition("-")[2])
        facts = {"status": "running", "picture": number, "step": step.index + 1, "steps": step.total}
        self._tell(running.job.id, {**facts, "progress": round(100 * running.progress, 1)}, step.preview)
        if time.monotonic() - running.written > _PROGRESS_EVERY:
            running.written = time.monotonic()
            self.store.tell_progress(self.owner, running.job.id, running.progress)

    def _finished(self, running: _Running, done: Done) -> None:
        """The name of its file first, then the file, then the word that it is there; where there is no room the job
        waits and begins from here."""
        job, number = running.job, int(done.key.rpartition("-")[2])
        seed = running.tickets[number].work.request.seed
        try:
            if self._on_picture is not None:
                self._on_picture(done.content, self._files(job))
            file = self.shelf.new_name(done.content)
            self.store.announce([file])
            self.shelf.put(done.content, file)
            ours = self.store.keep_picture(self.owner, job.id, StoredPicture(number, file, seed, *done.size))
        except OutputError as error:
            logger.warning("job %s waits for room: %s", job.id, error)
            self._lacks_room = True
            self._let_go(running, AGAIN_AFTER)
            return
        if not ours:  # another process has the job by now, or had it
            self._remove([file])
            self._let_go(running)
            return
        self.store.settle([file])
        running.left.discard(done.key)
        running.done_steps[done.key] = 1.0
        self._tell(job.id, {"status": "running", "picture": number, "progress": round(100 * running.progress, 1)})
        if not running.left:
            self._end(running, COMPLETED)

    def _failed(self, running: _Running, failure: Failed) -> None:
        if failure.key not in running.left:
            return
        if failure.reason == "stopped":
            self._let_go(running)
            return
        running.left.discard(failure.key)
        status = CANCELLED if failure.reason == "cancelled" else FAILED
        error = None if status == CANCELLED else of_failure(failure, begun=True).body["error"]
        self._end(running, status, error)

    def _fail(self, job: Job, error: SanakitError) -> None:
        """Before it was begun: the model, an adapter or a picture is another one now."""
        param = error.param if isinstance(error, WishError) else None
        code = "insufficient_memory" if isinstance(error, LackError) else "invalid_value"
        told = {"message": str(error), "type": "invalid_request_error", "param": param, "code": code}
        self._running.pop(job.id, None)
        self.store.end(self.owner, job.id, FAILED, time.time(), told)
        self._tell(job.id, {"status": FAILED})

    def _end(self, running: _Running, status: str, error: Mapping[str, Any] | None = None) -> None:
        for key in running.left:
            self.service.engine.cancel(key)
        self._running.pop(running.job.id, None)  # so that it is given back, and ended then, where this fails:
        self.store.end(self.owner, running.job.id, status, time.time(), error)
        self.shelf.drop_latents(running.job.id)
        self._tell(running.job.id, {"status": status})

    def _let_go(self, running: _Running, after: float = 0.0) -> None:
        """Somebody goes on with it later: another process, or this one."""
        self._running.pop(running.job.id, None)
        for key in running.left:
            self.service.engine.cancel(key)
        if after:
            self._claims_after = time.monotonic() + after
        try:
            self.store.release(self.owner, running.job.id, self.store.now() + after)
        except OutputError as error:
            logger.warning("job %s is given back as its lease would be renewed: %s", running.job.id, error)
        self._tell(running.job.id, {"status": QUEUED})

    def _sweep(self) -> None:
        self._remove(self.store.forget(time.time() - self.keep))
        self._remove(self.store.adrift(self.store.now() - _ADRIFT_AFTER))
        forgotten, self._forgotten = self._forgotten, set()
        for job in self.shelf.jobs_with_latents():  # a lane may keep one more before it hears of the end
            if job in forgotten or ((found := self.store.get(job)) is not None and found.has_ended):
                self.shelf.drop_latents(job)

    def _tell(self, job: str, facts: Mapping[str, Any], preview: bytes | None = None) -> None:
        for listener in tuple(self._listeners.get(job, ())):
            listener(facts, preview)
