"""Which captions of a batch of starter scenes are right of which pictures: exact, from the scenes, in one table.

The rules are the judge's (`worlds/reading/verdict.py`), and size words count too; a test holds the table to the judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sanakit.worlds.scenes.scene import OPPOSITES, Relation, Scene, relation_holds
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, ITEMS
from sanakit.worlds.scenes.wrong_scenes import shown_colour

_NAMES = {name: index for index, name in enumerate(ITEMS)}
_COLOURS = {name: index for index, name in enumerate([*COLOURS, "gray"])}
_BACKGROUNDS = {name: index for index, name in enumerate(BACKGROUNDS)}
_SIZES = {None: 0, "small": 1, "big": 2}
_BITS: Mapping[Relation, int] = {"left": 1, "right": 2, "above": 4, "below": 8}
# Columns of a code.
_WHAT = slice(0, 4)  # the names (the second is -1 but for pairs), the number, the background
_SAID_COLOURS, _SHOWN_COLOURS = slice(4, 6), slice(6, 8)  # -1: none
_SAID_RELATION, _SHOWN_RELATIONS, _SIZE = 8, 9, 10  # a bit or 0; bits; 0: no word


def scene_code(scene: Scene) -> list[int]:
    """What a caption says and what a picture shows, as eleven numbers."""
    things, relation = list(scene.objects), scene.relation
    if scene.kind == "pair" and _NAMES[things[0].name] > _NAMES[things[1].name]:
        things.reverse()
        relation = None if relation is None else OPPOSITES[relation]
    chosen = things[:2] if scene.kind == "pair" else things[:1]
    looks = [(thing.name, thing.colour) for thing in chosen]
    said = [-1 if colour is None else _COLOURS[colour] for _, colour in looks]
    shown = [-1 if colour is None else _COLOURS[colour] for colour in map(shown_colour, looks)]
    padding, boxes = [-1] * (2 - len(looks)), [thing.box for thing in chosen]
    relations = _BITS if scene.kind == "pair" else ()
    shown_relations = sum(_BITS[relation] for relation in relations if relation_holds(relation, *boxes))
    return [
        *(_NAMES[name] for name, _ in looks), *padding, scene.count, _BACKGROUNDS[scene.background],
        *said, *padding, *shown, *padding,
        0 if relation is None else _BITS[relation], shown_relations,
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
