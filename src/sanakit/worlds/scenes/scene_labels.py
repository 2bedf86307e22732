"""Which captions of a batch of starter scenes are right of which pictures: exact, from the scenes, in one table.

The rules are the judge's (`worlds/reading/verdict.py`), and size words count too; a test holds the table to the judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from sanakit.worlds.scenes.scene import Relation, Scene, SceneObject
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, ITEMS
from sanakit.worlds.scenes.wrong_scenes import shown_colour

_MIN_OFFSET = 0.1  # of the canvas between centres, as the judge asks
_NAMES = {name: index for index, name in enumerate(ITEMS)}
_COLOURS = {name: index for index, name in enumerate([*COLOURS, "gray"])}
_BACKGROUNDS = {name: index for index, name in enumerate(BACKGROUNDS)}
_SIZES = {None: 0, "small": 1, "big": 2}
_BITS: MappingProxyType[Relation, int] = MappingProxyType({"left": 1, "right": 2, "above": 4, "below": 8})
_INVERSES: MappingProxyType[Relation, Relation] = MappingProxyType(
    {"left": "right", "right": "left", "above": "below", "below": "above"}
)
# Columns of a code.
_WHAT = slice(0, 4)  # the names (the second is -1 but for pairs), the number, the background
_SAID_COLOURS, _SHOWN_COLOURS = slice(4, 6), slice(6, 8)  # -1: none
_SAID_RELATION, _SHOWN_RELATIONS, _SIZE = 8, 9, 10  # a bit or 0; bits; 0: no word


def scene_code(scene: Scene) -> list[int]:
    """What a caption says and what a picture shows, as eleven numbers."""
    things, relation = list(scene.objects), scene.relation
    if scene.kind == "pair" and _NAMES[things[0].name] > _NAMES[things[1].name]:
        things.reverse()
        relation = None if relation is None else _INVERSES[relation]
    chosen = things[:2] if scene.kind == "pair" else things[:1]
    looks = [(thing.name, thing.colour) for thing in chosen]
    said = [-1 if colour is None else _COLOURS[colour] for _, colour in looks]
    shown = [-1 if colour is None else _COLOURS[colour] for colour in map(shown_colour, looks)]
    padding = [-1] * (2 - len(looks))
    return [
        *(_NAMES[name] for name, _ in looks), *padding, scene.count, _BACKGROUNDS[scene.background],
        *said, *padding, *shown, *padding,
        0 if relation is None else _BITS[relation], _shown_relations(things) if scene.kind == "pair" else 0,
        _SIZES[scene.size],
    ]  # fmt: skip


def scene_labels(pictures: Tensor, captions: Tensor) -> Tensor:
    """Labels ``(B, M)`` int8 of pictures ``(B, 11)`` and captions ``(M, 11)`` given as codes.

    1: the caption has the words of the picture's own scene. -1: it is wrong of it. 0: it is true and says less.
    """
    shows, says = pictures[:, None], captions[None]  # (B, 1, 11), (1, M, 11)
    wrong = (shows[..., _WHAT] != says[..., _WHAT]).any(-1)
    said = says[..., _SAID_COLOURS]
    wrong |= ((said >= 0) & (said != shows[..., _SHOWN_COLOURS])).any(-1)
    relation = says[..., _SAID_RELATION]
    wrong |= (relation > 0) & (relation & shows[..., _SHOWN_RELATIONS] == 0)
    wrong |= (says[..., _SIZE] > 0) & (says[..., _SIZE] != shows[..., _SIZE])
    words = [0, 1, 2, 3, 4, 5, _SAID_RELATION, _SIZE]
    same = (shows[..., words] == says[..., words]).all(-1)
    return (same.int() - wrong.int()).to(torch.int8)


def scene_codes(scenes: Sequence[Scene]) -> Tensor:
    """``(B, 11)`` int64."""
    return torch.tensor([scene_code(scene) for scene in scenes])


def _shown_relations(things: Sequence[SceneObject]) -> int:
    (x1, y1), (x2, y2) = (_centre(thing) for thing in things)
    holds: dict[Relation, bool] = {
        "left": x2 - x1 >= _MIN_OFFSET, "right": x1 - x2 >= _MIN_OFFSET,
        "above": y2 - y1 >= _MIN_OFFSET, "below": y1 - y2 >= _MIN_OFFSET,
    }  # fmt: skip
    return sum(_BITS[relation] for relation, true in holds.items() if true)


def _centre(thing: SceneObject) -> tuple[float, float]:
    left, top, right, bottom = thing.box
    return (left + right) / 2, (top + bottom) / 2
