"""What is asked of a model, and the rows of generators that are perfect, ignore their prompts, or mirror them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from sanakit.common.errors import ConfigError, RequestError
from sanakit.evaluation.worlds.phrasebook import MEANINGS, PHRASES
from sanakit.evaluation.worlds.prompt_sets import QUICK, Numbers
from sanakit.evaluation.worlds.questions import Question, Together
from sanakit.evaluation.worlds.rows import Row, rows_table
from sanakit.evaluation.worlds.starter import Evaluated, Examiner, all_questions, evaluate_starter
from sanakit.evaluation.worlds.subject import Subject, subject_of
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.holdout import belongs_to, heldout_pairings
from sanakit.worlds.scenes.description import OPPOSITES, relation_holds

from ...worlds.toy_bank import write_toy_bank
from .truth_reader import TruthPainter, TruthReader, asked_of

NUMBERS = Numbers(names=3, seeds=5, singles=2, pairs=3, counts=2, words=4, looks=1, nouns=3, long=3)
SEED = 3
SETTINGS = {"model": "truth", "steps": 20}
EMOJI = {"dog": "🐕", "cat": "🐈", "apple": "🍎", "lemon": "🍋", "table": "🪑", "house": "🏠"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """The toy bank, some of whose things have an emoji."""
    toy = write_toy_bank(tmp_path_factory.mktemp("banks") / "toy")
    things = [replace(thing, emoji=EMOJI.get(name)) for name, thing in toy.things.items()]
    return Bank(toy.folder, "toy", things, toy.places.values(), toy.people)


@pytest.fixture(scope="module")
def subject(bank: Bank) -> Subject:
    return subject_of(bank, {})


@pytest.fixture(scope="module")
def questions(subject: Subject) -> list[Question | Together]:
    return all_questions(subject, NUMBERS, SEED)


@pytest.fixture(scope="module")
def scored(subject: Subject, questions: list[Question | Together]) -> Callable[..., Evaluated]:
    asked = asked_of(questions)
    reader, painter = TruthReader(asked, subject.bank), TruthPainter(asked, subject.bank)

    def score(draw: Any = painter, *, only: str = "", batch_size: int = 8, **options: Any) -> Evaluated:
        examiner = Examiner(draw=draw, reader=reader, subject=subject, batch_size=batch_size)
        chosen = [each for each in questions if only in ("", each.name)]
        return evaluate_starter(examiner, chosen, seed=SEED, settings=SETTINGS, **options)

    return score


def rows_of(evaluated: Evaluated) -> dict[str, Row]:
    return {row.name: row for row in evaluated.rows}


def test_what_is_called_new_is_new(questions: list[Question | Together]) -> None:
    """Every prompt of a row with new combinations is held out, and every other one of training's words."""
    rows = [each for each in questions if isinstance(each, Question)]
    new = {each.name for each in rows if each.num_new}
    assert new >= {"colour", "ground", "place", "left", "above", "behind", "three alike"}
    for row in rows:
        assert row.asked, row.name
        for asked in row.asked:
            assert belongs_to(asked.truth, "heldout") == (row.num_new is not None), (row.name, asked.prompt)
            assert asked.wrong is None or asked.wrong != asked.truth
    for row in rows:
        texts = [asked.prompt for asked in row.asked]
        assert len(set(texts)) == len(texts) // row.seeds_each, row.name  # nothing is asked twice


def test_prompts_are_a_function_of_the_seed(subject: Subject, questions: list[Question | Together]) -> None:
    assert all_questions(subject, NUMBERS, SEED) == questions
    other = [asked.prompt for asked in asked_of(all_questions(subject, NUMBERS, SEED + 1))]
    assert other != [asked.prompt for asked in asked_of(questions)]
    longer = replace(NUMBERS, pairs=5, words=6)
    for short, long in zip(questions, all_questions(subject, longer, SEED), strict=True):
        if isinstance(short, Question) and isinstance(long, Question):
            assert long.asked[: len(short.asked)] == short.asked  # a short run asks the first of a long one


def test_a_new_colour_is_not_the_own_one(subject: Subject) -> None:
    """Training shows a thing's own colour where no word tells it, whatever is held out."""
    many = replace(NUMBERS, words=200)
    row = next(each for each in all_questions(subject, many, SEED) if each.name == "colour")
    assert isinstance(row, Question)
    assert len(row.asked) > 4
    for asked in row.asked:
        told = asked.truth.objects[0]
        assert told.colour not in {look.natural for look in subject.bank.things[told.name].looks}


def test_every_language_says_everything() -> None:
    assert all(len(set(texts)) == len(MEANINGS) for texts in PHRASES.values())
    assert len(PHRASES) == 9


def test_truths_are_true_and_wrongs_are_wrong(questions: list[Question | Together]) -> None:
    by_name = {each.name: each for each in questions if isinstance(each, Question)}
    for relation in OPPOSITES:
        for asked in by_name[relation].asked:
            assert relation_holds(relation, *asked.truth.objects)
            assert asked.wrong is not None
            assert relation_holds(OPPOSITES[relation], *asked.wrong.objects)
            assert [thing.name for thing in asked.truth.objects] == [thing.name for thing in asked.wrong.objects]
    assert all(asked.truth.count == 3 != asked.wrong.count for asked in by_name["three alike"].asked if asked.wrong)
    for asked in by_name["place"].asked:
        assert asked.truth.ground.kind == "place"
        assert asked.prompt.endswith(("park", "kitchen"))
        assert heldout_pairings(asked.truth) == (f"{asked.truth.objects[0].name}|place {asked.truth.ground.name}",)
    for asked in by_name["long prompts"].asked:
        assert 30 <= len(asked.prompt.split()) <= 70
    for language, texts in PHRASES.items():
        for asked, plain in zip(by_name[language].asked, by_name["phrases in English"].asked, strict=True):
            said = MEANINGS[texts.index(asked.prompt)]
            assert (said.names[0], said.colour) == (plain.truth.objects[0].name, plain.truth.objects[0].colour)
            assert (said.count, asked.seed, asked.truth) == (plain.truth.count, plain.seed, plain.truth)
        assert len(by_name[language].asked) == NUMBERS.nouns
    assert {asked.prompt for asked in by_name["emoji alone"].asked} <= set(EMOJI.values())


def test_a_perfect_generator_is_right_everywhere(scored: Callable[..., Evaluated]) -> None:
    progress: list[tuple[int, int]] = []
    found = scored(on_progress=lambda done, total, _: progress.append((done, total)))
    rows = rows_of(found)
    assert all(row.right.mean == row.alone.mean == row.ceiling.mean == 1 for row in found.rows)
    assert all(row.wrong is None or row.wrong.mean == 0 for row in found.rows)
    assert rows["names"].right.num_samples == NUMBERS.names
    assert rows["left or right"].right.num_samples == 2 * NUMBERS.pairs
    assert rows["one thing, held-out pairing"].right.num_samples == sum(
        rows[name].right.num_samples for name in ("colour", "ground", "place")
    )
    assert rows["German"].share is not None
    assert (rows["German"].share.mean, rows["German"].base) == (1, "phrases in English")
    assert progress[-1][0] == progress[-1][1] == found.report.inputs["pictures"]
    assert rows_of(scored(only="colour", batch_size=3))["colour"] == rows["colour"]


def test_a_generator_that_ignores_its_prompts_is_wrong(scored: Callable[..., Evaluated]) -> None:
    found = scored(lambda prompts, seeds: [np.full((32, 32, 3), 255, np.uint8)] * len(prompts))
    assert all(row.right.mean == 0 and row.ceiling.mean == 1 for row in found.rows)
    assert rows_of(found)["German"].share is None  # of nothing there is no share


def test_a_mirrored_generator_fails_in_its_own_rows(
    subject: Subject, questions: list[Question | Together], scored: Callable[..., Evaluated]
) -> None:
    """Left and right exchanged: above and below, and everything else, are as good as before."""
    mirrored = [
        replace(asked, truth=asked.wrong) if asked.truth.relation in ("left", "right") and asked.wrong else asked
        for asked in asked_of(questions)
    ]
    rows = rows_of(scored(TruthPainter(mirrored, subject.bank)))
    assert rows["left"].right.mean == rows["right"].right.mean == rows["left or right"].right.mean == 0
    assert rows["above or below"].right.mean == rows["in front or behind"].right.mean == 1
    assert 0 < rows["two things and their relation"].right.mean < 1


def test_a_name_needs_four_of_five_seeds(
    subject: Subject, questions: list[Question | Together], scored: Callable[..., Evaluated]
) -> None:
    painter = TruthPainter(asked_of(questions[:1]), subject.bank)

    def failing(num: int, prompts: list[str], seeds: list[int]) -> list[Any]:
        pictures = painter(prompts, seeds)
        return [np.zeros_like(p) if seed - SEED < num else p for p, seed in zip(pictures, seeds, strict=True)]

    assert rows_of(scored(partial(failing, 1), only="names"))["names"].right.mean == 1
    assert rows_of(scored(partial(failing, 2), only="names"))["names"].right.mean == 0


def test_the_table_tells_how_to_measure_again(scored: Callable[..., Evaluated]) -> None:
    kept: dict[str, int] = {}
    found = scored(keep=lambda question, pictures, right: kept.update({question.name: len(pictures)}))
    table = rows_table(found.report, found.rows, "sanakit eval starter --seed 3")
    assert "again: sanakit eval starter --seed 3" in table
    assert "3 of 3 names, 5 pictures each" in table
    assert "100% [100%, 100%] of phrases in English" in table
    assert "the model does not list its words, so all" in table
    assert all(row.name in table for row in found.rows)
    facts = json.loads(json.dumps(found.report.to_json()))
    assert facts["settings"] == SETTINGS
    assert facts["details"]["pictures"]["left"][0]["answers"] == {
        "things": True, "relation": True, "ground": True, "all_right": True,
    }  # fmt: skip
    assert sum(kept.values()) == facts["inputs"]["pictures"]
    names = [each["name"] for each in facts["measurements"]]
    assert {"left", "left: and nothing else", "left: true pictures read as right"} <= set(names)
    assert next(e for e in facts["measurements"] if e["name"] == "left: wrong pictures that pass")["better"] == "lower"


def test_what_the_model_does_not_know_is_left_out_and_said(bank: Bank) -> None:
    names = ("dog", "cat", "apple", "xylophone", "table", "car")
    words = {
        "things": [{"name": name} for name in names], "places": {"park": ["in a park"]}, "views": {},
        "positions": ["to the left of", "to the right of", "next to"], "grounds": ["white", "blue", "night"],
    }  # fmt: skip
    subject = subject_of(bank, words)
    assert subject.names == ("dog", "cat", "apple", "car", "table")
    assert subject.notes == (
        "left out: 7 names of the bank, which the model does not know",
        "left out: 1 names of the model, which the bank does not have",
        "left out: 1 places of the bank, which the model does not know",
        "left out: red, orange, yellow, green, purple, pink, brown, black, gray, which the model does not know",
        "left out: grass, beach, snow, which the model does not know",
        "left out: above, below, in front, behind, on, which the model does not know",
        "left out: front, side, behind, above, which the model does not know",
    )
    assert subject.relations == ("left", "right")
    few = subject_of(bank, {}, readable={"dog", "cat", "park"})
    assert (set(few.names), few.places) == ({"cat", "dog"}, ("park",))
    assert few.notes[1:] == (
        "left out: 10 names, which the reader does not know",
        "left out: 1 places, which the reader does not know",
    )
    texts = " ".join(asked.prompt for asked in asked_of(all_questions(subject, QUICK, 0)))
    assert "kitchen" not in texts
    assert "lemon" not in texts
    assert not {"above", "seen", "grass"} & set(texts.split())
    with pytest.raises(RequestError, match=r"of the 1 names of the model .* know none"):
        subject_of(bank, {"things": [{"name": "xylophone"}]})


def test_a_generator_that_drops_a_picture_is_refused(scored: Callable[..., Evaluated]) -> None:
    with pytest.raises(ConfigError, match="7 pictures for 8"):
        scored(lambda prompts, seeds: [np.zeros((32, 32, 3), np.uint8)] * (len(prompts) - 1))
