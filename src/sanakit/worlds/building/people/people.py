"""``drawn_people``: pictures of people and creatures whose every part was chosen here, so that a caption can name it.

``styles.json`` lists the styles of the package dicebear-styles that are used, all in the public domain (CC0-1.0). Each
has wheels; a wheel is a list of [what a caption may say, options of the style], and a picture takes one of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata, resources
from typing import Any

import numpy as np

from sanakit.common.errors import optional
from sanakit.common.progress import OnProgress, no_progress
from sanakit.worlds.banks.things import Look, Person
from sanakit.worlds.building.cutting import cut
from sanakit.worlds.building.emoji.drawings import rasterised
from sanakit.worlds.building.emoji.looks import Views

_RASTER_SIZE = 320  # twice a view, for a smooth reduction
_SEED = 20261129
_AS_IT_IS = ("kind", "expression", "colour", "drawn", "glasses", "beard", "eyes", "head", "chest")
_OF_OTHER_COLOUR = ("overalls", "dress")  # than the shirt, whose colour is chosen


def drawn_people(on_progress: OnProgress = no_progress) -> tuple[tuple[Person, ...], dict[str, bytes]]:
    """People and creatures, and encoded pictures by their names in the bank; the same every time.

    Raises:
        MissingExtraError: the styles are not installed.
    """
    text = resources.files("sanakit").joinpath("worlds", "building", "people", "styles.json").read_text("utf-8")
    styles, views = json.loads(text), Views()
    total, people = sum(style["number"] for style in styles), []
    for style in styles:
        definition = _definition(style["style"])
        for number in range(style["number"]):
            people.append(_person(style, definition, number, views))
            on_progress(len(people), total, "people")
    return tuple(people), views.members


def _person(style: Mapping[str, Any], definition: Any, number: int, views: Views) -> Person:
    from dicebear import Avatar

    rng = np.random.default_rng((_SEED, *style["style"].encode(), number))
    parts, options = {"kind": style["kind"]}, dict(style["fixed"])
    for wheel in style["wheels"]:
        said, chosen = wheel[rng.integers(len(wheel))]
        parts.update(said)
        options.update(chosen)
    if style["drawn"]:
        parts["drawn"] = style["drawn"]
    svg = Avatar(definition, {"seed": f"{number}", "size": _RASTER_SIZE, **options}).to_string()
    image = cut(rasterised(svg, _RASTER_SIZE))
    assert image is not None, "a drawing without a visible pixel"
    key = f"{style['style']}-{number:03d}"
    look = Look(
        id=key,
        style=style["look"],
        views=(views.add(key, 0, image, None),),
        licence="CC0-1.0",
        author=definition.meta().creator().name(),
        source=f"dicebear-styles {metadata.version('dicebear-styles')}",
    )
    return Person(look=look, parts=_said(parts))


def _said(parts: Mapping[str, str]) -> dict[str, str]:
    """What was chosen as a caption says it: "long red" hair, a "blue cap"; not what a hat or a bald head hides."""
    said = {part: word for part, word in parts.items() if part in _AS_IT_IS}
    if "hat" in parts:
        said["hat"] = _joined(parts, "hat_colour", "hat")
    elif parts.get("hair_kind") == "bald":
        said["hair"] = "no hair"
    elif "hair" in parts:
        said["hair"] = _joined(parts, "hair_kind", "hair")
    if parts.get("clothes") in _OF_OTHER_COLOUR:
        said["clothes"] = parts["clothes"]
    elif "clothes_colour" in parts:
        said["clothes"] = _joined({"clothes": "shirt", **parts}, "clothes_colour", "clothes")
    if "plant" in parts:
        said |= {"kind": f"potted {parts['plant']}", "pot": f"{parts['pot_colour']} pot"}
    return said


def _joined(parts: Mapping[str, str], *names: str) -> str:
    return " ".join(parts[name] for name in names if name in parts)


def _definition(style: str) -> Any:
    dicebear = optional("dicebear", "people are drawn by dicebear-core; install it with sanakit[worlds]")
    return dicebear.Style(json.loads(resources.files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8")))
