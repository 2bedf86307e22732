"""Whether the words of one scene are true of the picture of another: exact, as both are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.looks import look_of
from sanakit.worlds.sampling.casting import is_view, shows
from sanakit.worlds.scenes.description import OPPOSITES, Ground, Scene, SceneObject, relation_holds
from sanakit.worlds.telling.phrases import is_default
from sanakit.worlds.telling.wrong_captions import may_be_called, shown_colour

_SMALL, _BIG = 0.45, 0.7  # of the canvas: what is longer is not small, what is shorter is not big


def truth(says: Scene, picture: Scene, bank: Bank) -> int:
    """1: the words are the picture's own. -1: they are wrong of it. 0: they may be true, and say less or otherwise."""
    if _words(says) == _words(picture):
        return 1
    return -1 if _is_wrong(says, picture, bank) else 0


def name_table(bank: Bank) -> tuple[Mapping[str, int], NDArray[np.bool_]]:
    """Numbers of all names, those of drawn people too, and ``(names, names)``: might a picture of one pass as another.

    Drawn people might pass as any thing that is a person.
    """
    kinds = sorted({person.parts["kind"] for person in bank.people} - set(bank.things))
    numbers = {name: number for number, name in enumerate([*bank.things, *kinds])}
    table = np.eye(len(numbers), dtype=np.bool_)
    for first, row in numbers.items():
        for other, column in numbers.items():
            if column < row and _might_pass(first, other, bank):
                table[row, column] = table[column, row] = True
    return numbers, table


def _words(scene: Scene) -> tuple[object, ...]:
    """What a caption of the scene says, however it is worded."""
    looks, relation = [(thing.name, thing.colour or "", thing.parts) for thing in scene.objects], scene.relation
    if looks != sorted(looks) and (relation is None or relation in OPPOSITES):
        looks, relation = sorted(looks), None if relation is None else OPPOSITES[relation]
    return tuple(looks), relation, scene.ground, scene.size, scene.view, scene.style


def _is_wrong(says: Scene, picture: Scene, bank: Bank) -> bool:
    named, there = (Counter(thing.name for thing in scene.objects) for scene in (says, picture))
    if named != there:
        alike = [_has_alike(name, there, bank) for name in named] + [_has_alike(name, named, bank) for name in there]
        return named.total() != there.total() or not all(alike)
    return (
        _wrong_ground(says.ground, picture.ground, bank)
        or any(_wrong_look(thing, says, picture, bank) for thing in says.objects)
        or _wrong_relation(says, picture)
    )


def _has_alike(name: str, names: Iterable[str], bank: Bank) -> bool:
    return any(_might_pass(name, other, bank) for other in names)


def _might_pass(name: str, other: str, bank: Bank) -> bool:
    if name == other:
        return True
    first, second = bank.things.get(name), bank.things.get(other)
    if first is None or second is None:
        known = first or second
        return known is not None and known.group == "person"
    return may_be_called(first, second)


def _wrong_ground(says: Ground, picture: Ground, bank: Bank) -> bool:
    if is_default(says) or says == picture:  # captions seldom name the white ground
        return False
    if "place" in (says.kind, picture.kind):
        if says.kind == picture.kind:
            wordings = (set(bank.places[ground.name].wordings) for ground in (says, picture))
            return not set.intersection(*wordings)
        return "drawn" not in (says.kind, picture.kind)  # a beach may be a place too
    return not set(says.name.split()) & set(picture.name.split())


def _wrong_look(thing: SceneObject, says: Scene, picture: Scene, bank: Bank) -> bool:
    """Whether a thing of that name shows another colour, size, side or style, or a person other parts."""
    for seen in picture.objects:
        if seen.name != thing.name:
            continue
        look = look_of(seen, bank)
        shown, longer = shown_colour(seen, bank), max(seen.box[2] - seen.box[0], seen.box[3] - seen.box[1])
        wrong_side = says.view and shows(look, says.view) and not is_view(look.views[seen.view], says.view)
        wrong_size = (says.size == "small" and longer > _SMALL) or (says.size == "big" and longer < _BIG)
        wrong_colour = thing.colour is not None and shown is not None and shown != thing.colour
        wrong_style = says.style is not None and says.style != look.style
        if wrong_side or wrong_size or wrong_colour or wrong_style or _wrong_parts(thing, seen, bank):
            return True
    return False


def _wrong_parts(thing: SceneObject, seen: SceneObject, bank: Bank) -> bool:
    if not thing.parts:
        return False
    person = bank.person(seen.look)
    there = {} if person is None else person.parts
    return any(there.get(part) != word for part, word in thing.parts)


def _wrong_relation(says: Scene, picture: Scene) -> bool:
    if says.relation is None:
        return False
    seen = {thing.name: thing for thing in picture.objects}
    return not relation_holds(says.relation, *(seen[thing.name] for thing in says.objects))
