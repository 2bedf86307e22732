"""People: the parts that are said are the parts that show."""

from __future__ import annotations

import json
from importlib import resources

from sanakit.worlds.building.people.people import _said


def test_what_a_hat_or_a_bald_head_hides_is_not_said() -> None:
    worn = {"hair": "red", "hair_kind": "long", "hat_colour": "blue"}
    assert _said(worn) == {"hair": "long red"}
    assert _said({**worn, "hat": "cap"}) == {"hat": "blue cap"}
    assert _said({**worn, "hair_kind": "bald"}) == {"hair": "no hair"}
    assert _said({"clothes": "overalls", "clothes_colour": "red"}) == {"clothes": "overalls"}
    assert _said({"clothes_colour": "red"}) == {"clothes": "red shirt"}
    assert _said({"plant": "cactus", "pot_colour": "pink"}) == {"kind": "potted cactus", "pot": "pink pot"}


def test_every_style_has_a_kind_and_wheels() -> None:
    text = resources.files("sanakit").joinpath("worlds", "building", "people", "styles.json").read_text("utf-8")
    for style in json.loads(text):
        assert style["kind"]
        assert all(len(pair) == 2 for wheel in style["wheels"] for pair in wheel)
