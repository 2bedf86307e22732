from __future__ import annotations

from collections import Counter

from sanakit.serving.turns import Turns


def test_sizes_have_the_same_time_and_pictures_of_a_size_take_turns() -> None:
    turns, seconds, had = Turns(), {"large": 8.0, "small 1": 1.0, "small 2": 1.0}, Counter[str]()
    for key in seconds:
        turns.join(key, key.split()[0])
    for _ in range(90):
        key = turns.first()
        had[key] += 1
        turns.took(key, seconds[key])
    assert had == {"large": 10, "small 1": 40, "small 2": 40}


def test_who_comes_late_has_no_claim_to_what_others_had_and_urgent_ones_go_first() -> None:
    turns = Turns()
    turns.join("a", 1)
    turns.took("a", 100.0)
    turns.join("b", 2)
    assert turns.first() == "a"
    turns.took("a", 1.0)
    assert turns.first() == "b"
    turns.join("c", 3, priority=1)
    assert turns.first() == "c"
    turns.leave("c")
    turns.leave("c")
    assert not turns.has("c")
