"""The scheduler alone: lanes that do nothing but remember what they were sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest

from sanakit.pipelines.request import GenerationRequest
from sanakit.serving.engine import BusyError, Engine, LackError, Ticket
from sanakit.serving.messages import Add, Done, Failed, FromLane, Gone, Lost, Remove, Returned, Step, ToLane, Work


class FakeLane:
    def __init__(self, slots: int) -> None:
        self.slots, self.sent = slots, list[ToLane]()

    def send(self, message: ToLane) -> None:
        self.sent.append(message)

    @property
    def added(self) -> list[str]:
        return [message.work.key for message in self.sent if isinstance(message, Add)]


class FakeLanes:
    def __init__(self, num: int, slots: int = 1) -> None:
        self.lanes = [FakeLane(slots) for _ in range(num)]
        self.coming: list[tuple[FakeLane, FromLane]] = []
        self.patience: list[float | None] = []

    def messages(self, timeout: float | None) -> Iterable[tuple[FakeLane, FromLane]]:
        self.patience.append(timeout)
        coming, self.coming = self.coming, []
        return coming

    def wake(self) -> None:
        pass

    def alive(self) -> Sequence[FakeLane]:
        return self.lanes

    def replace(self, lane: FakeLane) -> None:
        self.lanes[self.lanes.index(lane)] = FakeLane(lane.slots)

    def dismiss(self, busy: Collection[object]) -> None:
        self.busy = busy


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """An engine over lanes that do nothing, and what was told of every picture."""

    def __init__(self, num_lanes: int = 1, slots: int = 1, **settings: Any) -> None:
        self.clock, self.lanes, self.told = Clock(), FakeLanes(num_lanes, slots), list[FromLane]()
        self.engine = Engine(self.lanes, clock=self.clock, **settings)

    def submit(self, key: str, size: int = 256, priority: int = 0, **facts: Any) -> Ticket:
        work = Work(key=key, request=GenerationRequest(prompt=key), priority=priority)
        ticket = Ticket(work=work, size=size, listen=self.told.append, **facts)
        self.engine.submit(ticket)
        return ticket

    def hear(self, message: FromLane, lane: int = 0) -> None:
        self.lanes.coming.append((self.lanes.lanes[lane], message))
        self.engine.step()

    def added(self, lane: int = 0) -> list[str]:
        return self.lanes.lanes[lane].added


def done(key: str) -> Done:
    return Done(key, b"", "{}")


def test_pictures_are_spread_over_lanes_and_follow_when_one_is_done() -> None:
    desk = Desk(num_lanes=2)
    for key in "abc":
        desk.submit(key)
    desk.engine.step()
    assert (desk.added(0), desk.added(1)) == (["a"], ["b"])
    desk.hear(done("b"), lane=1)
    assert desk.added(1) == ["b", "c"]
    assert desk.told == [done("b")]


def test_another_size_takes_turns_and_the_same_size_shares_a_call_where_there_are_slots() -> None:
    desk = Desk(slots=2)
    for key, size in (("a", 256), ("b", 256), ("c", 256), ("d", 512)):
        desk.submit(key, size)
    desk.engine.step()
    assert desk.added() == ["a", "b", "d"]


def test_urgent_pictures_come_first_and_wait_for_no_less_urgent_one() -> None:
    desk = Desk()
    desk.submit("first")
    desk.engine.step()
    desk.submit("usual")
    desk.submit("urgent", priority=5)
    desk.engine.step()
    assert desk.added() == ["first", "urgent"]
    assert list(desk.engine.waiting) == ["usual"]


def test_changed_priority_changes_the_order() -> None:
    desk = Desk()
    for key in "abc":
        desk.submit(key)
    desk.engine.step()
    desk.engine.prioritise("c", 1)
    desk.engine.step()
    assert list(desk.engine.waiting) == ["b"]  # c is in the lane by now, before a
    assert desk.added() == ["a", "c"]


def test_memory_is_not_exceeded_and_a_large_picture_is_not_overtaken_for_ever() -> None:
    desk = Desk(num_lanes=3, memory=10)
    desk.submit("small", memory=4)
    desk.submit("large", size=1024, memory=9)
    desk.submit("late", memory=1)
    desk.engine.step()
    assert [desk.added(lane) for lane in range(3)] == [["small"], [], []]
    desk.hear(done("small"))
    assert sorted(key for lane in range(3) for key in desk.added(lane)) == ["large", "late", "small"]
    with pytest.raises(LackError, match=r"takes up to .* are free"):
        desk.submit("huge", memory=11)


def test_cancelled_and_late_pictures_leave_their_lane_at_once() -> None:
    desk = Desk()
    desk.submit("a", deadline=5.0)
    desk.submit("b", size=512)
    desk.engine.step()
    assert desk.lanes.patience[-1] is not None or desk.engine.running
    desk.engine.cancel("b")
    desk.clock.now = 6.0
    desk.engine.step()
    assert [(each.key, each.reason) for each in desk.told if isinstance(each, Failed)] == [
        ("b", "cancelled"), ("a", "deadline"),
    ]  # fmt: skip
    assert {each.key for each in desk.lanes.lanes[0].sent if isinstance(each, Remove)} == {"a", "b"}
    desk.hear(done("a"))  # which came too late, and is told to nobody
    assert len(desk.told) == 2
    assert desk.engine.idle


def test_lanes_are_looked_at_once_a_step_for_all_that_are_alike() -> None:
    desk, looks = Desk(slots=2, memory=1000), list[str]()
    has_room = desk.engine._has_room
    desk.engine._has_room = lambda lane, ticket: looks.append(ticket.key) or has_room(lane, ticket)
    for number in range(500):
        desk.submit(str(number), size=256 + 256 * (number % 2), priority=number // 400, memory=1)
    desk.engine.step()
    assert desk.added() == ["400", "401", "402", "403"]
    assert looks == ["400", "401", "402", "403", "404", "405", "0", "1"]


def test_waiting_ends_with_the_next_deadline() -> None:
    desk = Desk()
    desk.submit("a", deadline=3.0)
    desk.engine.step(timeout=60)
    assert desk.lanes.patience[-1] == 3.0


def test_a_lost_lane_costs_no_picture_until_it_happens_again_and_again() -> None:
    desk = Desk()
    desk.submit("a")
    desk.engine.step()
    for _ in range(2):
        desk.hear(Lost())
    assert desk.added() == ["a", "a", "a"]
    desk.hear(Lost())
    assert isinstance(desk.told[-1], Failed)
    assert desk.told[-1].reason == "crash"


def test_a_lane_that_says_nothing_far_longer_than_any_before_is_replaced_and_its_picture_tried_once_more() -> None:
    desk = Desk(silence=20.0)
    desk.submit("a")
    desk.engine.step()
    desk.clock.now = 3.0
    desk.hear(Step("a", 0, 9))  # a step of 3 s, so that one of 30 s may be
    for now, hung in ((32.0, 0), (34.0, 1), (63.0, 1), (65.0, 2)):
        desk.clock.now = now
        desk.engine.step()
        assert desk.engine.hung == desk.engine.replaced == hung, now
        assert desk.added() == ([] if hung == 2 else ["a"])
    assert desk.engine.notice == "a lane said nothing for 31 s, at most 3 s before, and was replaced"
    assert (desk.told[-1].key, desk.told[-1].reason) == ("a", "crash")


def test_a_lane_owes_a_word_on_pictures_that_were_cancelled_and_an_idle_one_none() -> None:
    desk = Desk(silence=10.0)
    desk.submit("a", deadline=5.0)
    desk.engine.step(timeout=60)
    desk.clock.now = 6.0
    desk.engine.step()
    assert desk.engine.idle
    desk.clock.now = 9.0
    desk.hear(Gone("a"))
    desk.clock.now = 1000.0
    desk.engine.step()
    assert desk.engine.hung == 0
    desk.submit("b", deadline=1005.0)
    for now in (1001.0, 1006.0, 1100.0):  # the second time nothing is heard of it
        desk.clock.now = now
        desk.engine.step(timeout=60)
    assert desk.engine.hung == 1


def test_pictures_that_ran_out_of_memory_go_on_alone() -> None:
    desk = Desk(slots=3)
    for key in "abc":
        desk.submit(key)
    desk.engine.step()
    desk.hear(Returned("b", lack=True))
    desk.hear(done("c"))
    assert desk.added() == ["a", "b", "c"]
    desk.hear(done("a"))
    assert desk.added() == ["a", "b", "c", "b"]
    desk.submit("d")
    desk.engine.step()
    assert "d" not in desk.added()
    assert desk.engine.recoveries == 1
    desk.hear(done("b"))
    assert desk.added()[-1] == "d"


def test_a_stop_ends_what_waits_and_hands_back_what_runs() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b")
    desk.engine.step()
    desk.engine.hand_back()
    desk.engine.step()
    assert Remove("a", hand_back=True) in desk.lanes.lanes[0].sent
    desk.hear(Returned("a"))
    assert {each.key: each.reason for each in desk.told if isinstance(each, Failed)} == {"a": "stopped", "b": "stopped"}
    with pytest.raises(BusyError, match="about to stop"):
        desk.submit("c")


def test_the_queue_has_an_end_and_a_listener_that_fails_harms_nobody_else() -> None:
    desk = Desk(max_waiting=1)

    def fail(message: FromLane) -> None:
        raise RuntimeError

    desk.engine.submit(Ticket(work=Work(key="a", request=GenerationRequest(prompt="a")), size=1, listen=fail))
    with pytest.raises(BusyError, match="1 pictures wait"):
        desk.submit("b")
    desk.engine.step()
    desk.hear(Step("a", 0, 2))
    desk.hear(done("a"))
    desk.submit("b")
    desk.engine.step()
    assert desk.added() == ["a", "b"]
