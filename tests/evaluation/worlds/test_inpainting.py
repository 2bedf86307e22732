"""Things painted into pictures, by painters that are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from sanakit.evaluation.worlds.inpainting import Hole, holes, inpainting_report
from sanakit.evaluation.worlds.subject import Subject, subject_of
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene


class Truths:
    """Reads pictures that it was shown before; of others nothing."""

    name, weights_hash, resize_rule = "truths", "0", "none"

    def __init__(self, cases: list[Hole]) -> None:
        self.known = {hole.whole.tobytes(): self._of(hole) for hole in cases}
        self.known |= {hole.pasted(hole.whole).tobytes(): self._of(hole) for hole in cases}

    @staticmethod
    def _of(hole: Hole) -> ReadScene:
        things = hole.asked.truth.objects
        return ReadScene(objects=tuple(ReadObject(name=t.name, colour=None, box=t.box, score=1) for t in things))

    def read(self, picture: Any) -> ReadScene:
        return self.known.get(picture.tobytes(), ReadScene(objects=()))


def tiny() -> Subject:
    return subject_of(load_bank("tiny"), {})


def test_a_perfect_painter_and_a_lazy_one() -> None:
    cases = holes(tiny(), 8, 3)
    assert [len(hole.asked.truth.objects) for hole in cases] == 4 * [2, 1]
    again = holes(tiny(), 8, 3)
    assert all(np.array_equal(a.picture, b.picture) and a.box == b.box for a, b in zip(cases, again, strict=True))
    whole = {hole.asked.prompt: hole.whole for hole in cases}
    reader: Any = Truths(cases)
    for hole in cases:
        outside = ~hole.mask
        assert hole.picture.shape == (128, 128, 3)
        assert 0.02 < hole.mask.mean() < 0.9
        assert (hole.picture[outside] == hole.whole[outside]).mean() > 0.9  # but for shadows
        assert not hole.found(ReadScene(objects=()))
    common: dict[str, Any] = {"rebuild": lambda picture: picture, "seed": 0, "settings": {}}
    perfect = inpainting_report(lambda prompt, *_: whole[prompt], reader, cases, **common)
    assert (perfect["found"].value, perfect["true"].value, perfect["pasted"].value) == (1, 1, 1)
    lazy = inpainting_report(
        lambda prompt, seed, picture, mask: whole[prompt] if picture is None else picture, reader, cases, **common
    )
    assert (lazy["found"].value, lazy["kept"].value, lazy["true"].value, lazy["drawn"].value) == (0, 1, 1, 1)
