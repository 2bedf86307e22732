"""A model that is served: requests become plans, plans tickets of the engine, and who asked hears of them."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.checkpoints.opening import OpenedModel
from sanakit.common.errors import RequestError, SanakitError
from sanakit.pipelines.check import granularity_for, memory_of_pictures, plan_for_model, temporal_for
from sanakit.pipelines.controlling.use import ControlModel
from sanakit.pipelines.plan import PicturePlan
from sanakit.pipelines.reading.read import PromptReader
from sanakit.pipelines.reading.words import Words
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.serving.engine import BusyError, Engine, LackError, Ticket
from sanakit.serving.messages import Done, Failed, FileForm, FromLane, Step, Told, Work
from sanakit.serving.metrics import Metrics
from sanakit.serving.workers import Workers

logger = logging.getLogger(__name__)

Listen = Callable[[FromLane], None]
_LOOK_EVERY = 0.25  # seconds between two looks whether a client is still there


class ClientGoneError(SanakitError):
    """Nobody waits for the pictures any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """How pictures of one request are made: their files, previews, urgency, and when they must be there."""

    form: FileForm
    num_previews: int = 0
    preview_every: int | None = None
    priority: int = 0
    seconds: float = math.inf

    def shown(self, num_steps: int) -> frozenset[int]:
        """Steps after which there is a preview: so many spread over the run, or every so many; not the last."""
        spread = {round(num_steps * (each + 1) / (self.num_previews + 1)) - 1 for each in range(self.num_previews)}
        often = range(self.preview_every - 1, num_steps, self.preview_every) if self.preview_every else ()
        return frozenset(step for step in spread.union(often) if 0 <= step < num_steps - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much a service takes upon itself, and how long it waits.

    Args:
        memory: bytes that pictures may take together beside the weights; None where nobody can tell.
        max_waiting: pictures that may wait.
        patience: seconds after which a request that says nothing of it is given up; clients of OpenAI wait 600.
        silence: seconds after which a lane hangs, as of `Engine`.
    """

    memory: int | None = None
    max_waiting: int = 1000
    patience: float = 570.0
    silence: float = math.inf


class Service:
    """Args:
    model: opened, for plans; its weights are in the lanes.
    adapters, controls: folders of adapters and ControlNets that requests may name.
    aliases: other names of the model.
    """

    def __init__(
        self,
        model: OpenedModel,
        lanes: Workers,
        *,
        bounds: Bounds | None = None,
        adapters: Path | None = None,
        controls: Path | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        bounds = bounds or Bounds()
        self.model, self.lanes, self.adapters, self.aliases = model, lanes, adapters, aliases
        self.patience = bounds.patience
        self.controls = controls
        self._networks: dict[tuple[Path, int], ControlModel] = {}  # by file and when it was written
        self.engine = Engine(lanes, memory=bounds.memory, max_waiting=bounds.max_waiting, silence=bounds.silence)
        self.metrics = Metrics(self.name)
        self.reader = PromptReader(Words(model.words)) if model.words else None
        self.created = int(time.time())
        self._needs: dict[Hashable, int] = {}  # bytes, by all that they depend on
        self._thread: threading.Thread | None = None
        self._stopping = False
        engine, watch = self.engine, self.metrics.watch
        watch("num_requests_running", "Pictures in lanes.", lambda: len(engine.running))
        watch("num_requests_waiting", "Pictures that wait.", lambda: len(engine.waiting))
        watch("oom_recoveries_total", "Pictures that left a lane as memory ran out.", lambda: engine.recoveries)
        watch("lanes_replaced_total", "Lanes that ended and were replaced.", lambda: engine.replaced)
        watch("lanes_hung_total", "Of these, lanes that were ended as they said nothing any more.", lambda: engine.hung)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.model.card.name

    @property
    def granularity(self) -> int:
        """Both sides of a picture that the model makes are multiples of it."""
        return granularity_for(self.model)

    @property
    def makes_clips(self) -> bool:
        """And no pictures."""
        return self.model.makes_clips

    @property
    def temporal(self) -> int:
        """Frames of a clip are one more than a multiple of it."""
        return temporal_for(self.model)

    def check_request(self) -> GenerationRequest:
        """The least that can be made."""
        small: dict[str, Any] = {"prompt": "", "num_inference_steps": 1}
        return VideoRequest(**small, num_frames=1) if self.makes_clips else GenerationRequest(**small)

    @property
    def ready(self) -> bool:
        """It takes work, and there is a lane to do it."""
        runs = self._thread is not None and self._thread.is_alive()
        return runs and self.engine.accepting and bool(self.lanes.alive())

    def start(self) -> None:
        """Let the engine run, if it does not yet."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def stop(self, within: float) -> None:
        """No new work; what runs may finish for so many seconds, and is handed back then."""
        self.engine.accepting = False
        end = time.monotonic() + within
        while not self.engine.idle and time.monotonic() < end:
            time.sleep(0.05)
        self.engine.hand_back()
        end = time.monotonic() + 10
        while not self.engine.idle and time.monotonic() < end:
            time.sleep(0.05)
        self._stopping = True
        self.lanes.wake()
        if self._thread is not None:
            self._thread.join(5)

    def reload(self, reopen: Callable[[], OpenedModel]) -> None:
        """Read the model again, as its files are now, while pictures go on; where that fails, all stays as it is."""

        def read() -> None:
            try:
                model, fresh = reopen(), self.lanes.fresh()
            except Exception as error:
                logger.warning("the model stays as it was: %s", error)
                return
            self.engine.call(lambda: take(model, fresh))

        def take(model: OpenedModel, fresh: Workers) -> None:
            self.lanes.renew(fresh)
            self.model = model
            self.reader = PromptReader(Words(model.words)) if model.words else None
            self._needs = {}
            logger.warning("the model was read again")

        threading.Thread(target=read, name="reload", daemon=True).start()

    def plan(self, requests: Sequence[GenerationRequest]) -> list[PicturePlan]:
        """Every picture of the requests; raises RequestError where the model cannot make one."""
        return plan_for_model(self.model, requests, self.reader)

    def tickets(self, plans: Sequence[PicturePlan], call: Call, listen: Listen, *, name: str = "") -> list[Ticket]:
        """One a picture, with keys that begin with ``name``, not in the queue yet."""
        name = name or secrets.token_hex(8)
        return [self._ticket(plan, call, listen, f"{name}-{index}") for index, plan in enumerate(plans)]

    def submit(self, tickets: Iterable[Ticket]) -> None:
        """All or none; raises as ``Engine.submit``."""
        submitted: list[str] = []
        try:
            for ticket in tickets:
                self.engine.submit(ticket)
                submitted.append(ticket.key)
        except Exception:
            for key in submitted:
                self.engine.cancel(key)
            raise

    def adapter(self, name: str) -> Path:
        """The file of an adapter; raises RequestError for a name that there is not."""
        files = self.adapter_files()
        if name not in files:
            there = ", ".join(files) or "none"
            raise RequestError(f"there is no adapter {name[:80]!r} here; there are: {there}.")
        return files[name]

    def adapter_files(self) -> dict[str, Path]:
        """Files by name, as they are in the folder now."""
        found = () if self.adapters is None else sorted(self.adapters.glob("*.safetensors"))
        return {path.stem: path for path in found}

    def control(self, name: str) -> ControlModel:
        """A ControlNet by name, whose file is read for its hash the first time; raises RequestError for a name that
        there is not, CheckpointError where it holds none."""
        files = self.control_files()
        if name not in files:
            there = ", ".join(files) or "none"
            raise RequestError(f"there is no ControlNet {name[:80]!r} here; there are: {there}.")
        key = files[name], files[name].stat().st_mtime_ns
        if key not in self._networks:
            self._networks[key] = ControlModel.of(files[name])
        return self._networks[key]

    def control_files(self) -> dict[str, Path]:
        """Files and folders by name, as they are now."""
        found = () if self.controls is None else sorted(self.controls.iterdir())
        return {path.stem: path for path in found if path.is_dir() or path.suffix == ".safetensors"}

    def _ticket(self, plan: PicturePlan, call: Call, listen: Listen, key: str) -> Ticket:
        steps = plan.solver.num_steps - plan.start
        work = Work(key=key, request=plan.request, form=call.form, previews=call.shown(steps), priority=call.priority)
        ticket = Ticket(
            work=work,
            size=(plan.generated, plan.num_frames),
            listen=lambda message: self._hear(ticket, message, listen),
            memory=self._memory_of(plan),
            deadline=self.engine.clock() + call.seconds,
        )
        return ticket

    def _memory_of(self, plan: PicturePlan) -> int:
        """Bytes that a picture takes, predicted once for all that are alike in what `memory_of_pictures` looks at."""
        request, needs = plan.request, self._needs
        networks = tuple(use.model for use in request.controls)
        key = (plan.generated, plan.num_frames, len(plan.guidance.inputs()), request.upscale, plan.is_larger, networks)
        if key not in needs:
            need = memory_of_pictures(self.model, plan)
            needs[key] = max(need.denoising, need.decoding, need.upscaling)
        return needs[key]

    def _hear(self, ticket: Ticket, message: FromLane, listen: Listen) -> None:
        metrics = self.metrics
        match message:
            case Step(seconds=seconds):
                metrics.steps().inc()
                metrics.step_time().observe(seconds)
            case Done(seconds=stages):
                metrics.images().inc()
                metrics.queue_time().observe(ticket.seconds.get("queue", 0.0))
                metrics.batch_size().observe(len(self.engine.running) + 1)
                for stage, seconds in stages.items():
                    metrics.stage_time(stage).observe(seconds)
            case Failed(reason=reason):
                metrics.rejected(reason).inc()
        listen(message)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self.engine.step(60.0)
            except Exception:
                logger.exception("a step of the engine failed")
                time.sleep(0.1)


class Order:
    """Pictures that one client waits for: what is told of them, in an event loop.

    Use it as a context: pictures that are not finished at its end are cancelled.

    Args:
        gone: says whether the client went away; it is then told nothing more.
    """

    def __init__(
        self, service: Service, plans: Sequence[PicturePlan], call: Call, gone: Callable[[], Awaitable[bool]]
    ) -> None:
        self._service, self._loop, self._gone = service, asyncio.get_running_loop(), gone
        self._told: asyncio.Queue[FromLane] = asyncio.Queue()
        self.notices: list[str] = []
        self.tickets = service.tickets(plans, call, self._hear)
        self._left = {ticket.key: index for index, ticket in enumerate(self.tickets)}

    def __enter__(self) -> Order:
        try:
            self._service.submit(self.tickets)
        except (BusyError, LackError) as error:
            self._service.metrics.rejected(error.reason).inc()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for key in self._left:
            self._service.engine.cancel(key)

    @property
    def begun(self) -> bool:
        """Work was done for it."""
        return any(ticket.begun for ticket in self.tickets)

    async def told(self) -> AsyncIterator[tuple[int, Step | Done | Failed]]:
        """What happens to pictures, by number, until all have ended."""
        looked = self._loop.time()
        while self._left:
            message: FromLane | None = None
            with suppress(TimeoutError):
                message = await asyncio.wait_for(self._told.get(), _LOOK_EVERY)
            if self._loop.time() - looked >= _LOOK_EVERY:
                if await self._gone():
                    raise ClientGoneError("the client went away")
                looked = self._loop.time()
            if isinstance(message, Told):
                self.notices.append(message.sentence)
            elif isinstance(message, (Step, Done, Failed)):
                index = self._left[message.key]
                if not isinstance(message, Step):
                    del self._left[message.key]
                yield index, message

    def _hear(self, message: FromLane) -> None:
        self._loop.call_soon_threadsafe(self._told.put_nowait, message)
