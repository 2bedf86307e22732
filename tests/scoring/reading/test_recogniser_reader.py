"""The reader that is a network: which peaks are things, when a name is said, and what is behind; on crafted answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.models.recogniser import CutoutMaps, Findings, Names, PictureMaps, RecogniserConfig
from sanakit.scoring.reading import recogniser as module
from sanakit.scoring.reading.recogniser import RecogniserReader, found_boxes

WORDS = RecogniserConfig(
    names=("cat", "dog", "cow"), colours=("red", "blue"), ground_colours=("white", "green"), drawn_grounds=("night",),
    places=("park",),
)  # fmt: skip


def answers(*things: tuple[int, int, float, float, float]) -> tuple[Tensor, Tensor]:
    """Heat and boxes of things in the middle of their cells: row, column, probability, width, height."""
    heat, boxes = torch.zeros(8, 8), torch.full((4, 8, 8), 0.5)
    for row, column, probability, width, height in things:
        heat[row, column] = probability
        boxes[2:, row, column] = torch.tensor([math.log(width), math.log(height)])
    return heat, boxes


def test_a_box_lies_around_its_centre_in_its_cell() -> None:
    heat, boxes = answers((2, 3, 0.9, 0.5, 0.25))
    boxes[:2, 2, 3] = torch.tensor([0.25, 0.75])
    x, y = 3.25 / 8, 2.75 / 8
    assert found_boxes(heat, boxes) == [pytest.approx((x - 0.25, y - 0.125, x + 0.25, y + 0.125), abs=1e-6)]
    boxes[2:, 2, 3] = 1.0  # wider than the picture is as wide as the picture
    assert found_boxes(heat, boxes) == [pytest.approx((x - 0.5, y - 0.5, x + 0.5, y + 0.5), abs=1e-6)]


@pytest.mark.parametrize(
    ("things", "centres"),
    [
        ([(1, 1, 0.3, 0.1, 0.1), (4, 4, 0.29, 0.1, 0.1)], [(1, 1)]),  # from 0.3 on something is there
        ([(1, 1, 0.4, 0.1, 0.1), (4, 4, 0.8, 0.1, 0.1)], [(4, 4), (1, 1)]),  # the clearest first
        ([(1, 1, 0.9, 0.1, 0.1), (2, 2, 0.8, 0.1, 0.1)], [(1, 1)]),  # beside a peak is no peak
        ([(1, 1, 0.9, 0.1, 0.1), (1, 3, 0.8, 0.1, 0.1)], [(1, 1), (1, 3)]),
        ([(2, 2, 0.9, 0.5, 0.5), (2, 4, 0.8, 0.5, 0.5)], [(2, 2), (2, 4)]),  # half of each is common
        ([(2, 2, 0.9, 1.0, 0.5), (2, 4, 0.8, 1.0, 0.5)], [(2, 2)]),  # three quarters are
        ([(2, 2, 0.9, 1.0, 1.0), (2, 4, 0.8, 0.1, 0.1)], [(2, 2)]),  # of the smaller one all is
        ([(2, 4, 0.9, 0.1, 0.1), (2, 2, 0.8, 1.0, 1.0)], [(2, 4)]),
    ],
)
def test_peaks_are_things_and_no_thing_comes_twice(
    things: list[tuple[int, int, float, float, float]], centres: list[tuple[int, int]]
) -> None:
    found = found_boxes(*answers(*things))
    assert [(round(8 * (y1 + y2) / 2 - 0.5), round(8 * (x1 + x2) / 2 - 0.5)) for x1, y1, x2, y2 in found] == centres


def test_a_picture_has_eight_things_at_most() -> None:
    things = [(row, column, 0.9 - 0.01 * (3 * row + column), 0.05, 0.05) for row in (0, 2, 4) for column in (0, 2, 4)]
    assert len(found_boxes(*answers(*things))) == 8


class Looked:
    """Stands in for the frozen network."""

    def to(self, device: object) -> Looked:
        return self

    def pictures(self, pictures: Sequence[Any]) -> PictureMaps:
        assert [picture.shape for picture in pictures] == [(128, 128, 3)]
        return PictureMaps(*[torch.zeros(1)] * 4)

    def cutouts(self, cutouts: Sequence[Any]) -> CutoutMaps:
        assert {cutout.shape for cutout in cutouts} == {(96, 96, 3)}
        return CutoutMaps(*[torch.zeros(1)] * 4)


class Answers(torch.nn.Module):
    """A recogniser that says what it is told: probabilities of names and grounds, numbers of colours."""

    def __init__(
        self, names: Sequence[Sequence[float]] = (), colours: Sequence[int] = (),
        grounds: Sequence[float] = (1, 0, 0), upper: int = 0, lower: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.one = WORDS, torch.nn.Parameter(torch.ones(1))
        heat, boxes = answers(*((2 * (n // 4), 2 * (n % 4), 0.9 - 0.01 * n, 0.1, 0.1) for n in range(len(names))))
        one_hot = torch.nn.functional.one_hot
        behind = (torch.tensor([grounds]).log(), one_hot(torch.tensor([upper]), 2), one_hot(torch.tensor([lower]), 2))
        found = Findings(torch.logit(heat)[None], boxes[None], *behind)
        self.finder = lambda maps: found
        said = Names(torch.tensor(names).log(), one_hot(torch.tensor(colours, dtype=torch.int64), 3))
        self.namer = lambda maps: said


@pytest.fixture(autouse=True)
def looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Looking", Looked)


def reader(**said: Any) -> RecogniserReader:
    return RecogniserReader(Answers(**said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shares", "name", "score"),  # of: like nothing known, only ground, cat, dog, cow
    [
        ((0.1, 0.1, 0.7, 0.1, 0.0), "cat", 0.7 / (0.8 + 0.1 / 7)),
        ((0.0, 0.45, 0.0, 0.0, 0.55), "cow", 1.0),
        ((0.8, 0.0, 0.12, 0.08, 0.0), "cat", 0.12 / (0.2 + 0.8 / 7)),  # 0.8 is less than seven times 0.12
        ((0.88, 0.0, 0.0, 0.12, 0.0), None, 0.12 / (0.12 + 0.88 / 7)),  # 0.88 is more
        ((0.0, 0.0, 0.34, 0.33, 0.33), None, 0.34),  # 0.35 is sure
        ((0.0, 0.0, 0.36, 0.32, 0.32), "cat", 0.36),
    ],
)
def test_a_name_is_said_where_it_is_sure(shares: tuple[float, ...], name: str | None, score: float) -> None:
    (thing,) = reader(names=[shares], colours=[2]).read(np.zeros((128, 128, 3), np.uint8)).objects
    assert (thing.name, thing.score) == (name, pytest.approx(score, abs=1e-5))
    assert thing.colour == (None if name is None else "blue")
    assert thing.box == pytest.approx((0.0125, 0.0125, 0.1125, 0.1125))


def test_ground_is_no_thing_and_the_surest_come_first() -> None:
    names = [(0.1, 0.2, 0.4, 0.2, 0.1), (0.1, 0.8, 0.1, 0.0, 0.0), (0.0, 0.1, 0.0, 0.9, 0.0)]
    seen = reader(names=names, colours=[0, 1, 1]).read(np.zeros((50, 70, 3), np.uint8))
    assert [(thing.name, thing.colour) for thing in seen.objects] == [("dog", "red"), ("cat", None)]
    assert reader().read(np.zeros((128, 128, 3), np.uint8)).objects == ()


@pytest.mark.parametrize(
    ("grounds", "upper", "lower", "ground", "place"),
    [
        ((0.39, 0.31, 0.3), 0, 0, None, None),  # 0.4 is sure
        ((0.41, 0.3, 0.29), 0, 0, "white", None),
        ((0.9, 0.1, 0.0), 1, 0, "green white", None),
        ((0.1, 0.8, 0.1), 0, 1, "night", None),
        ((0.1, 0.1, 0.8), 0, 1, None, "park"),
    ],
)
def test_what_is_behind(
    grounds: tuple[float, ...], upper: int, lower: int, ground: str | None, place: str | None
) -> None:
    seen = reader(grounds=grounds, upper=upper, lower=lower).read(np.zeros((128, 128, 3), np.uint8))
    assert (seen.ground, seen.place) == (ground, place)


def test_only_pictures_of_three_channels_are_read() -> None:
    for shape in ((128, 128), (128, 128, 4), (1, 128, 128, 3)):
        with pytest.raises(ShapeError, match="cannot be read"):
            reader().read(np.zeros(shape, np.uint8))
