"""Which view a word is true of, what can be seen before what, and how shares are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sanakit.worlds.banks.things import Look, View
from sanakit.worlds.sampling.arrangement import arrange, fit
from sanakit.worlds.sampling.casting import choose, clashes, draw_view, is_view, may_be, only, pick, shows
from sanakit.worlds.scenes.description import Ground


def look(*views: tuple[float, float], **facts: Any) -> Look:
    shown = tuple(View(yaw, pitch, 0, (10, 10), "a.webp") for yaw, pitch in views or ((0, 20),))
    return Look(**{"id": "a", "style": "3d", "views": shown, "licence": "", "author": "", "source": "", **facts})


@pytest.mark.parametrize(
    ("yaw", "pitch", "words"),
    [
        (0, 45, {None, "front"}), (15, 20, {None, "front"}), (16, 20, {None}), (345, 20, {None, "front"}),
        (344, 20, {None}), (74, 20, {None}), (75, 45, {None, "side"}), (76, 0, {"side"}), (105, 20, {"side"}),
        (106, 20, set()), (255, 20, {"side"}), (285, 20, {None, "side"}), (149, 20, set()), (150, 20, {"behind"}),
        (180, 45, {"behind"}), (210, 20, {"behind"}), (211, 20, set()), (-15, 20, {None, "front"}),
        (0, 46, {"above"}), (90, 60, {"above"}), (180, 46, {"above"}), (360, 20, {None, "front"}),
    ],
)  # fmt: skip
def test_the_words_that_are_true_of_a_view(yaw: float, pitch: float, words: set[str | None]) -> None:
    view = View(yaw, pitch, 0, (1, 1), "a.webp")
    assert {word for word in (None, "front", "side", "behind", "above") if is_view(view, word)} == words  # type: ignore[arg-type]


def test_a_look_has_sides_from_three_directions_on() -> None:
    assert shows(look((0, 20), (90, 20), (180, 20)), "behind")
    assert not shows(look((0, 20), (180, 20), (180, 60)), "behind")
    assert not shows(look((0, 20), (90, 20), (45, 20)), "behind")
    rng = np.random.default_rng(0)
    many = look((180, 20), (0, 20), (90, 20), (45, 20))
    assert {draw_view(many, None, rng) for _ in range(60)} == {1, 3}
    assert {draw_view(many, "behind", rng) for _ in range(9)} == {0}
    assert {draw_view(look((180, 20), (120, 20)), None, rng) for _ in range(40)} == {0, 1}  # any, if none is so


@pytest.mark.parametrize(
    ("ground", "natural", "style", "colour", "clash"),
    [
        (Ground(kind="place", name="park"), "red", "3d", "red", False),
        (Ground(kind="drawn", name="snow"), "white", "3d", None, True),
        (Ground(kind="drawn", name="snow"), "white", "3d", "red", False),
        (Ground(kind="drawn", name="grass"), "green", "3d", None, False),
        (Ground(kind="drawn", name="night"), None, "3d", "black", True),
        (Ground(name="red"), "red", "3d", None, True),
        (Ground(name="red"), "red", "3d", "blue", False),
        (Ground(name="red"), None, "3d", None, False),
        (Ground(kind="graded", name="blue red"), None, "3d", "red", True),
        (Ground(kind="graded", name="blue red"), None, "3d", "green", False),
        (Ground(), "white", "3d", None, False),  # stands out by its shades
        (Ground(), "white", "flat", None, True),
        (Ground(), None, "3d", "white", True),
        (Ground(kind="graded", name="white red"), "white", "3d", None, True),
    ],
)
def test_what_is_hard_to_see(ground: Ground, natural: str | None, style: str, colour: str | None, clash: bool) -> None:
    assert clashes(ground, look(natural=natural, style=style), colour) == clash


def test_colours_that_a_look_may_have() -> None:
    assert may_be(look(natural="gray"), "gray")
    assert not may_be(look(natural="gray"), "red")
    assert may_be(look(natural="gray", tintable=True), "red")
    assert not may_be(look(tintable=True), "gray")  # no colour of tints
    assert may_be(look(), None)


def test_shares_are_drawn_as_they_are_given() -> None:
    rng = np.random.default_rng(0)
    drawn = [choose({"a": 1.0, "b": 3.0, "never": 0.0}, rng) for _ in range(4000)]
    assert abs(drawn.count("b") / 4000 - 0.75) < 0.03
    assert "never" not in drawn
    assert only({"a": 0.2, "b": 0.3, "c": 0.5}, ["c", "a", "x"]) == {"a": 0.2, "c": 0.5}
    assert {pick("xyz", rng) for _ in range(60)} == set("xyz")


@pytest.mark.parametrize("number", [2, 3, 4])
def test_arrangements_keep_a_gap_and_lie_inside(number: int) -> None:
    rng = np.random.default_rng(number)
    for _ in range(300):
        centres, scale = arrange(number, rng)
        assert len(centres) == number
        assert 0.25 < scale <= 0.46
        assert all(scale / 2 <= edge <= 1 - scale / 2 for point in centres for edge in point)
        for i, (x, y) in enumerate(centres):
            assert all(max(abs(x - u), abs(y - v)) > scale for u, v in centres[:i])


@pytest.mark.parametrize(
    ("aspect", "box"),
    [
        (1.0, (0.25, 0.375, 0.75, 0.875)),
        (2.0, (0.25, 0.5, 0.75, 0.75)),  # wide: the width is the scale
        (0.5, (0.375, 0.375, 0.625, 0.875)),
    ],
)
def test_a_box_has_the_shape_of_its_thing(aspect: float, box: tuple[float, float, float, float]) -> None:
    assert fit(aspect, (0.5, 0.625), 0.5) == pytest.approx(box)
