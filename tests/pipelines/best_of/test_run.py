"""Candidates of the tiny model: the winner is a picture of its own, and judges of all kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import RequestError, SanakitError
from sanakit.pipelines.best_of.run import best_of
from sanakit.pipelines.best_of.settings import BestOf
from sanakit.pipelines.events import Event, ImageDone, Judged, Notice, StepDone
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.replay import replay
from sanakit.pipelines.text_to_image import TextToImagePipeline

EARLY = (0.34, 0.67)


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: ModelBundle) -> TextToImagePipeline:
    return TextToImagePipeline(tiny_bundle)


def brightness(images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
    return [float(np.asarray(image).mean()) for image in images]


class ByTurn:
    """Says what it is told to, picture by picture."""

    name, weights_hash = "by turn", "abc"

    def __init__(self, *scores: Any) -> None:
        self.scores = list(scores)

    def __call__(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Any]:
        return [self.scores.pop(0) for _ in images]


def test_the_winner_is_the_picture_of_its_seed(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    alone = pipeline("a cat", seed=7, num_images=6).images
    bright = brightness([image.picture for image in alone], [])
    ranked = sorted(range(6), key=lambda number: -bright[number])
    found = best_of(pipeline, "a cat", BestOf(num=6, keep=2), [brightness], seed=7).images
    assert [image.record.request.seed - 7 for image in found] == ranked[:2]
    for place, image in enumerate(found):
        own, choice = alone[ranked[place]], image.record.choice
        assert image.picture.tobytes() == own.picture.tobytes()
        assert image.record.model_copy(update={"choice": None}) == own.record
        assert choice is not None
        assert choice.place == place
        assert [each.seed for each in choice.candidates] == list(range(7, 13))
        assert [each.scores for each in choice.candidates] == [((value,),) for value in bright]
        assert choice.judges[0].name == "brightness"
    file = found[0].save(tmp_path / "best.png")
    assert read_record(file) == found[0].record
    again = replay(file, pipeline)
    assert again.identical
    assert again.differences == ()


@pytest.mark.parametrize("fields", [{}, {"solver": "flow-euler"}, {"reuse": 0.3}, {"solver": "scm"}])
def test_early_dropping_changes_no_picture(pipeline: TextToImagePipeline, fields: dict[str, Any]) -> None:
    """Pictures leave and join again between steps, and are the same to the bit."""
    events = list[Event]()
    settings = BestOf(num=5, dropping=EARLY)
    judge = ByTurn(*range(5), 3, 2, 1, 9, 8)
    (found,) = best_of(pipeline, "a cat", settings, [judge], on_event=events.append, **fields).images
    (own,) = pipeline("a cat", seed=found.record.request.seed, **fields).images
    assert found.picture.tobytes() == own.picture.tobytes()
    assert found.record.request.seed == 2
    judged = [(each.step, each.stayed, each.dropped) for each in events if isinstance(each, Judged)]
    assert judged == [(1, 3, 2), (2, 2, 1)]
    choice = found.record.choice
    assert choice is not None
    assert choice.stages == (1, 2)
    assert [each.dropped_after for each in choice.candidates] == [1, 1, None, None, 2]
    assert [each.scores for each in choice.candidates] == [((0.0,),), ((1.0,),), ((9.0,),), ((8.0,),), ((1.0,),)]
    steps = [each.image_index for each in events if isinstance(each, StepDone)]
    assert len(steps) <= 5 + 3 + 2
    assert set(steps) == set(range(5))
    done = [each for each in events if isinstance(each, ImageDone)]
    assert [(each.image_index, each.num_images) for each in done] == [(0, 1)]


def test_dropping_from_a_picture_counts_the_steps_that_are_made(pipeline: TextToImagePipeline) -> None:
    source, fields = Image.linear_gradient("L").resize((128, 128)), {"num_inference_steps": 4, "strength": 0.5}
    settings = BestOf(num=2, dropping=(0.5,))
    (found,) = best_of(pipeline, "a cat", settings, [ByTurn(1, 0, 5)], image=source, **fields).images
    assert found.record.choice is not None
    assert found.record.choice.stages == (3,)
    assert [each.dropped_after for each in found.record.choice.candidates] == [None, 1]
    assert found.picture.tobytes() == pipeline("a cat", image=source, **fields).images[0].picture.tobytes()


def test_several_prompts_and_what_is_there_already(pipeline: TextToImagePipeline) -> None:
    settings, prompts = BestOf(num=4, keep=2, mode="bracket"), ["a cat", "a dog"]
    both = best_of(pipeline, prompts, settings, [brightness]).images
    assert [image.record.request.prompt for image in both] == ["a cat", "a cat", "a dog", "a dog"]
    events = list[Event]()

    def finished(contest: Any) -> set[int]:
        return {contest.place_of(image.record) for image in both[:3]} - {None}

    left = best_of(pipeline, prompts, settings, [brightness], finished=finished, on_event=events.append).images
    assert [image.record for image in left] == [both[3].record]
    assert {each.image_index for each in events if isinstance(each, StepDone)} == set(range(4))
    for other in (BestOf(num=4, keep=2), BestOf(num=8, keep=2, mode="bracket"), settings):
        judges = [brightness] if other is not settings else [ByTurn(*range(8))]
        assert len(best_of(pipeline, "a cat", other, judges, finished=finished).images) == 2  # nothing is alike


def test_no_number_is_the_worst_and_is_told(pipeline: TextToImagePipeline) -> None:
    events = list[Event]()
    judge = ByTurn(0.5, (math.nan, 3.0), -math.inf)
    (found,) = best_of(pipeline, "a cat", BestOf(num=3), [judge], on_event=events.append, num_inference_steps=1).images
    assert found.record.request.seed == 0
    told = [each.message for each in events if isinstance(each, Notice)]
    assert told == ["the judge by turn gave no number for 1 of 3 pictures of 'a cat'; they count as the worst"]
    choice = type(found.record).from_json(found.record.to_json()).choice
    assert choice is not None
    assert choice == found.record.choice
    assert [each.scores for each in choice.candidates] == [((0.5,),), ((None, 3.0),), ((None,),)]


def failing(images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
    raise KeyError("what?")


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        (ByTurn(math.nan, math.nan), "by turn gave no number for any picture of 'a cat'"),
        (failing, "the judge failing failed on pictures of 'a cat': 'what\\?'"),
        (lambda images, texts: [1.0], "gave 1 scores for 2 pictures"),
        (lambda images, texts: [(), ()], "gave 2 scores for 2 pictures"),
        (lambda images, texts: ["good", "bad"], "failed on pictures of 'a cat'"),
        (lambda images, texts: None, "failed on pictures of 'a cat'"),
    ],
)
def test_judges_that_fail(pipeline: TextToImagePipeline, judge: Any, words: str) -> None:
    with pytest.raises(SanakitError, match=words):
        best_of(pipeline, "a cat", BestOf(num=2), [judge], num_inference_steps=1)


class Choosy:
    def check(self, text: str) -> None:
        raise RequestError(f"no word of {text}")

    def __call__(self, images: Any, texts: Any) -> list[float]:
        raise AssertionError


def test_what_cannot_work_is_said_before_any_work(pipeline: TextToImagePipeline) -> None:
    def no_event(event: Event) -> None:
        raise AssertionError(event)

    for judges, settings, fields, words in (
        ([Choosy()], BestOf(num=2), {}, "no word of a cat"),
        ([], BestOf(num=2), {}, "needs a judge"),
        ([brightness], BestOf(num=2, weights=(1, 2)), {}, "2 weights do not fit 1 judges"),
        ([brightness], BestOf(num=2), {"num_images": 3}, "say how many to keep"),
        ([brightness], BestOf(num=2), {"steps": 3}, "did you mean num_inference_steps"),
    ):
        with pytest.raises(RequestError, match=words):
            best_of(pipeline, "a cat", settings, judges, on_event=no_event, **fields)


def test_one_step_and_one_candidate(pipeline: TextToImagePipeline) -> None:
    events = list[Event]()
    settings = BestOf(num=1, dropping=EARLY)
    (found,) = best_of(pipeline, "a cat", settings, [brightness], on_event=events.append, num_inference_steps=1).images
    assert found.picture.tobytes() == pipeline("a cat", num_inference_steps=1).images[0].picture.tobytes()
    assert any("nobody is dropped early" in each.message for each in events if isinstance(each, Notice))
