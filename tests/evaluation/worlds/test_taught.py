"""What an adapter was taught, asked of painters that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sanakit.common.errors import RequestError
from sanakit.evaluation.worlds.subject import subject_of
from sanakit.evaluation.worlds.taught import Lesson, other_questions, taught_report
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene

BANK = load_bank("tiny")
SUBJECT = subject_of(BANK, {"things": [{"name": name} for name in ("apple", "dog", "star")], "places": []})


def lesson(thing: str = "owl", num: int = 12) -> Lesson:
    thing = next(name for name in BANK.things if name not in SUBJECT.names) if thing == "owl" else thing
    return Lesson(subject=SUBJECT, whole=BANK, thing=thing, word="zorbl", num=num, num_others=5)


class Truths:
    """Reads the true pictures that it was shown before; in others nothing."""

    name, weights_hash, resize_rule = "truths", "0", "none"

    def __init__(self, truths: list[Any]) -> None:
        self.known = {compose(truth, BANK).tobytes(): truth for truth in truths}

    def read(self, picture: Any) -> ReadScene:
        truth = self.known.get(picture.tobytes())
        things = () if truth is None else truth.objects
        return ReadScene(objects=tuple(ReadObject(name=t.name, colour=t.colour, box=t.box, score=1) for t in things))


def test_prompts_have_the_word_and_none_of_the_grounds_that_it_is_taught_with() -> None:
    taught = [caption for _, caption in lesson().pictures()]
    asked = lesson().questions()
    assert len(set(taught)) == 6
    assert taught[0] == "a zorbl"
    assert not {each.prompt for _, each in asked} & set(taught)
    assert all("zorbl" in each.prompt and "zorbls" not in each.prompt for _, each in asked)
    assert [kind for kind, _ in asked[:3]] == ["several", "beside another thing", "before a ground"]
    assert [each.prompt for _, each in asked] == [each.prompt for _, each in lesson(num=40).questions()[:12]]
    with pytest.raises(RequestError, match="knows 'dog' already"):
        lesson("dog")
    with pytest.raises(RequestError, match="the word 'dog' cannot stand for it"):
        replace(lesson(), word="dog")
    with pytest.raises(RequestError, match="has no 'nothing'"):
        lesson("nothing")


def test_one_who_learned_it_and_forgot_all_else() -> None:
    own, others = lesson(num=6).questions(), other_questions(SUBJECT, 5, 0)
    truths = {(each.prompt, each.seed): each.truth for _, each in [*own, *others]}
    reader: Any = Truths(list(truths.values()))

    def paint(prompt: str, seed: int, counts: bool) -> Any:
        picture = compose(truths[prompt, seed], BANK)
        return picture if counts == ("zorbl" in prompt) else picture * 0

    report = taught_report(paint, reader, lesson(num=6), rebuild=np.zeros_like, settings={})
    found = {each.name: each.value for each in report.measurements}
    assert (found["named"], found["true"], found["named, several"], found["rebuilt"]) == (1, 1, 1, 0)
    assert (found["other prompts"], found["other prompts, without it"] > 0.5) == (0, True)
