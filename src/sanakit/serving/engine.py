"""The scheduler: which picture goes into which lane, and when. It knows no network; lanes do the work."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from sanakit.common.byte_counts import readable_bytes
from sanakit.common.errors import SanakitError
from sanakit.serving.messages import (
    Add,
    Done,
    Failed,
    FromLane,
    Gone,
    Lost,
    Reason,
    Remove,
    Returned,
    Step,
    ToLane,
    Work,
)
from sanakit.serving.silence import Silence

logger = logging.getLogger(__name__)

MAX_LOST = 3  # lanes that may end under one picture before it is given up
HUNG = 2  # of these a lane that hung counts for, so that its pictures are tried once more and no third time
MAX_SIZES = 4  # of pictures that take turns in one lane


class BusyError(SanakitError):
    """More pictures wait than are let in; it may be asked for again later. ``reason`` is for who counts."""

    reason = "busy"


class StoppingError(BusyError):
    """The server is about to end."""

    reason = "stopped"

    def __init__(self) -> None:
        super().__init__("the server is about to stop and takes no new work; ask again in a moment")


class LackError(SanakitError):
    """A picture takes more memory than there is."""

    reason = "memory"


class LaneHandle(Protocol):
    """A lane as the engine sees it; ``slots`` pictures of one size share its calls, one on the CPU."""

    slots: int

    def send(self, message: ToLane) -> None:
        """Raises nothing where the lane has ended, which is told by ``Lost``."""


class Lanes(Protocol):
    """All lanes there are."""

    def messages(self, timeout: float | None) -> Iterable[tuple[LaneHandle, FromLane]]:
        """What has come; waits for that, or for `wake`, or so many seconds."""

    def wake(self) -> None:
        """End the waiting; from any thread."""

    def alive(self) -> Sequence[LaneHandle]:
        """Those that take pictures; ones that ended are replaced."""

    def replace(self, lane: LaneHandle) -> None:
        """End one that does not answer, by force; another takes its place."""

    def dismiss(self, busy: Collection[LaneHandle]) -> None:
        """Lanes that take no pictures any more may end, but for those that have some still."""


@dataclass(kw_only=True, eq=False)
class Ticket:
    """A picture that somebody waits for.

    Args:
        size: pictures of one size share the calls of a lane.
        memory: bytes that it takes beside the weights, at most.
        deadline: on the engine's clock.
        listen: told what happens to it, in the engine's thread; the last thing is ``Done`` or ``Failed``.
    """

    work: Work
    size: Hashable
    listen: Callable[[FromLane], None]
    memory: int = 0
    deadline: float = math.inf
    number: int = 0
    lane: LaneHandle | None = None
    alone: bool = False  # memory ran out while others were there
    lost: int = 0
    begun: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    since: float = 0.0

    @property
    def key(self) -> str:
        return self.work.key


class Engine:
    """Pictures wait in one queue, by priority and then by age, and go into lanes as there is room and memory.

    ``step`` is called in a loop by one thread; everything else may be called from any.

    Args:
        memory: bytes that pictures may take together beside the weights; None where nobody can tell.
        max_waiting: pictures that may wait.
        silence: seconds after which a lane that says nothing of its pictures hangs, if that is `FAR_LONGER` times more
            than any silence before.
    """

    def __init__(
        self,
        lanes: Lanes,
        *,
        memory: int | None = None,
        max_waiting: int = 1000,
        silence: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lanes, self.memory, self.max_waiting, self.clock = lanes, memory, max_waiting, clock
        self.waiting: dict[str, Ticket] = {}
        self.running: dict[str, Ticket] = {}
        self.accepting = True
        self.recoveries = 0  # from lacks of memory
        self.replaced = 0  # lanes
        self.hung = 0  # of these
        self.notice = ""  # of the last that hung, in one sentence
        self._silence = Silence[LaneHandle](silence, clock)
        self._numbers, self._calls, self._lock = count(), deque[Callable[[], None]](), threading.Lock()

    def step(self, timeout: float | None = None) -> None:
        """Hear what lanes tell, obey what was called, end what is late, and give lanes what they have room for."""
        for lane, message in self.lanes.messages(self._patience(timeout)):
            self._hear(lane, message)
        while self._calls:
            self._calls.popleft()()
        for lane, seconds in self._silence.hung():
            self._replace_hung(lane, seconds)
        now = self.clock()
        for ticket in [each for each in (*self.waiting.values(), *self.running.values()) if each.deadline <= now]:
            self._end(ticket, "deadline", "the picture was not finished in the time that was given for it")
        full = set[tuple[Hashable, int]]()  # sizes and priorities for which no lane has room, and gets none in a step
        for ticket in sorted(self.waiting.values(), key=lambda each: (-each.work.priority, each.number)):
            if not self._has_memory(ticket):
                break  # those behind it do not overtake it for ever
            if (kind := (ticket.size, ticket.work.priority)) in full:
                continue
            rooms = [lane for lane in self.lanes.alive() if self._has_room(lane, ticket)]
            if rooms:
                self._place(ticket, min(rooms, key=lambda lane: len(self._in(lane))))
            else:
                full.add(kind)
        self.lanes.dismiss([ticket.lane for ticket in self.running.values() if ticket.lane is not None])

    def submit(self, ticket: Ticket) -> None:
        """Let a picture wait for its turn.

        Raises:
            BusyError: too many wait already, or the server is about to stop.
            LackError: it would never fit.
        """
        with self._lock:  # of several threads, none gets past the limit
            if not self.accepting:
                raise StoppingError
            if len(self.waiting) >= self.max_waiting:
                raise BusyError(f"{len(self.waiting)} pictures wait already; ask again later")
            if self.memory is not None and ticket.memory > self.memory:
                need, free = readable_bytes(ticket.memory), readable_bytes(self.memory)
                raise LackError(f"this picture takes up to {need} and {free} are free for it; ask for a smaller one")
            ticket.number, ticket.since = next(self._numbers), self.clock()
            self.waiting[ticket.key] = ticket
        self.lanes.wake()

    def cancel(self, key: str, reason: Reason = "cancelled", sentence: str = "the picture was cancelled") -> None:
        """End a picture between two steps; one that has ended is no error."""

        def end() -> None:
            ticket = self.waiting.get(key) or self.running.get(key)
            if ticket is not None:
                self._end(ticket, reason, sentence)

        self.call(end)

    def call(self, wish: Callable[[], None]) -> None:
        """Have something done in the engine's thread."""
        self._calls.append(wish)
        self.lanes.wake()

    def hand_back(self) -> None:
        """Every picture leaves its lane, kept as far as it is; ``Failed`` with the reason "stopped" is the last that
        is told of it."""

        def give_back() -> None:
            for ticket in list(self.waiting.values()):
                self._end(ticket, "stopped", "the server stopped before the picture was begun")
            for ticket in self.running.values():
                self._send(ticket, Remove(ticket.key, hand_back=True))

        self.accepting = False
        self.call(give_back)

    def prioritise(self, key: str, priority: int) -> None:
        """Of a picture that waits."""

        def change() -> None:
            if (ticket := self.waiting.get(key)) is not None:
                ticket.work = ticket.work.with_priority(priority)

        self.call(change)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing runs."""
        return not (self.waiting or self.running)

    def _patience(self, timeout: float | None) -> float | None:
        """Until the next deadline, or so long."""
        if self._calls:
            return 0.0
        tickets = (*self.waiting.values(), *self.running.values())
        next_end = min((ticket.deadline for ticket in tickets), default=math.inf)
        until = min(next_end, self._silence.next_look) - self.clock()
        return timeout if math.isinf(until) else max(min(until, math.inf if timeout is None else timeout), 0.0)

    def _in(self, lane: LaneHandle) -> list[Ticket]:
        return [ticket for ticket in self.running.values() if ticket.lane is lane]

    def _has_memory(self, ticket: Ticket) -> bool:
        if any(each.alone for each in self.running.values()) or (ticket.alone and self.running):
            return False
        taken = sum(each.memory for each in self.running.values())
        return self.memory is None or taken + ticket.memory <= self.memory

    def _has_room(self, lane: LaneHandle, ticket: Ticket) -> bool:
        """Less urgent pictures are no hindrance: they wait in the lane as far as they are."""
        equals = [each for each in self._in(lane) if each.work.priority >= ticket.work.priority]
        sizes = {each.size for each in equals} | {ticket.size}
        return sum(each.size == ticket.size for each in equals) < lane.slots and len(sizes) <= MAX_SIZES

    def _place(self, ticket: Ticket, lane: LaneHandle) -> None:
        self.running[ticket.key] = self.waiting.pop(ticket.key)
        ticket.lane = lane
        self._silence.given(lane, ticket.key)
        ticket.seconds["queue"] = self.clock() - ticket.since
        lane.send(Add(ticket.work))

    def _hear(self, lane: LaneHandle, message: FromLane) -> None:
        if isinstance(message, Lost):
            self._lose(lane)
            return
        self._silence.heard(lane, message.key, last=isinstance(message, Done | Failed | Returned | Gone))
        ticket = self.running.get(message.key)
        if ticket is None or ticket.lane is not lane:
            return  # it was cancelled meanwhile
        match message:
            case Gone():
                return  # of an earlier stay in that lane
            case Step():
                ticket.begun = True
            case Done() | Failed():
                del self.running[ticket.key]
            case Returned(lack=lack):
                self.recoveries += lack
                ticket.alone = ticket.alone or lack
                self._wait_again(ticket)
                return
        self._tell(ticket, message)

    def _replace_hung(self, lane: LaneHandle, seconds: float) -> None:
        usual = self._silence.longest
        self.notice = f"a lane said nothing for {seconds:.0f} s, at most {usual:.0f} s before, and was replaced"
        logger.warning("%s", self.notice)
        self.hung += 1
        self.lanes.replace(lane)
        self._lose(lane, HUNG)

    def _lose(self, lane: LaneHandle, weight: int = 1) -> None:
        self.replaced += 1
        self._silence.ended(lane)
        for ticket in self._in(lane):
            ticket.lost += weight
            if ticket.lost >= MAX_LOST:
                self._end(ticket, "crash", "the processes that made this picture ended or hung, one after the other")
            else:
                self._wait_again(ticket)

    def _wait_again(self, ticket: Ticket) -> None:
        if not self.accepting:
            self._end(ticket, "stopped", "the server stopped before the picture was finished")
            return
        del self.running[ticket.key]
        ticket.lane = None
        self.waiting[ticket.key] = ticket  # with its old number, before all that came later

    def _end(self, ticket: Ticket, reason: Reason, sentence: str) -> None:
        self._send(ticket, Remove(ticket.key))
        self.waiting.pop(ticket.key, None)
        self.running.pop(ticket.key, None)
        self._tell(ticket, Failed(ticket.key, reason, sentence))

    def _send(self, ticket: Ticket, message: ToLane) -> None:
        if ticket.lane is not None:
            ticket.lane.send(message)

    def _tell(self, ticket: Ticket, message: FromLane) -> None:
        try:
            ticket.listen(message)
        except Exception:  # of a listener, which must not stop everybody's pictures
            logger.exception("nobody could be told of picture %s", ticket.key)
