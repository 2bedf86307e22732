"""Scenes of a bank in which one certain thing takes part."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Thing
from sanakit.worlds.sampling.staging import staged
from sanakit.worlds.scenes.description import Scene


def starring(scene: Scene, thing: Thing, rng: Generator, bank: Bank) -> Scene | None:
    """The scene with this thing in the place of one of its own, or of all that are alike, put on stage anew.

    Words that are not true of the thing go: its colour, its side, a style that it has not. None where no thing may be
    replaced by it, as of a drawn person, or of what carries another thing.
    """
    if scene.kind == "person":
        return None
    styles = {look.style for look in thing.looks}
    told = scene.style if scene.style in styles else None
    places = [range(scene.count)] if scene.kind == "count" else [(int(n),) for n in rng.permutation(scene.count)]
    for chosen in places:
        objects = tuple(
            replace(each, name=thing.name, colour=None) if number in chosen else each
            for number, each in enumerate(scene.objects)
        )
        if (found := staged(replace(scene, objects=objects, style=told, view=None), rng, bank)) is not None:
            return found
    return None
