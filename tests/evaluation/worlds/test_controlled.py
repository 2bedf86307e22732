from __future__ import annotations

from typing import Any

import numpy as np

from sanakit.evaluation.worlds.controlled import control_report, drawn_scenes, overlap, silhouette
from sanakit.evaluation.worlds.subject import subject_of
from sanakit.scoring.annotators.annotate import annotate
from sanakit.worlds.banks.bank_files import load_bank


def test_silhouettes_of_composed_pictures_are_nearly_those_of_the_scene() -> None:
    cases = drawn_scenes(subject_of(load_bank("tiny"), {}), 12, 3)
    again = drawn_scenes(subject_of(load_bank("tiny"), {}), 3, 3)
    assert [case.prompt for case in again] == [case.prompt for case in cases[:3]]
    assert min(overlap(case.mask, silhouette(case.picture)) for case in cases) >= 0.9
    for case in cases:
        line = annotate(case.outline, "drawing")[..., 0] > 0
        assert not (line & case.mask).any()
        assert line.sum() < 0.5 * case.mask.size
        assert case.prompt


def test_holes_belong_to_a_silhouette_and_the_ground_does_not() -> None:
    picture = np.full((32, 32, 3), 200, np.uint8)
    picture[8:24, 8:24] = 10
    picture[14:18, 14:18] = 200  # a hole
    found = silhouette(picture)
    assert np.array_equal(np.argwhere(found).min(axis=0), [8, 8])
    assert found.sum() == 256
    assert overlap(found, np.roll(found, 16, axis=0)) == 0
    assert overlap(found, found) == overlap(~found & found, ~found & found) == 1


def test_one_who_follows_and_one_who_does_not() -> None:
    cases = drawn_scenes(subject_of(load_bank("tiny"), {}), 4, 0)
    whole = {case.prompt: case.picture for case in cases}
    common: dict[str, Any] = {"seed": 0, "settings": {}}
    perfect = control_report(lambda prompt, *_: whole[prompt], cases, **common)
    assert perfect["controlled"].value == perfect["read"].value == perfect["base"].value
    flat = np.full((128, 128, 3), 7, np.uint8)
    lazy = control_report(
        lambda prompt, seed, picture, kind: flat if picture is None else whole[prompt], cases, **common
    )
    assert (lazy["base"].value, lazy["outlined"].value) == (0, lazy["controlled"].value)
