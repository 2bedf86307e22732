"""Hard negatives: a scene with one word changed and drawn anew, whose caption is wrong of the first one's picture."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.casting import draw_person, pick
from sanakit.worlds.sampling.holdout import Split, belongs_to
from sanakit.worlds.sampling.staging import staged
from sanakit.worlds.scenes.description import Ground, Relation, Scene
from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND, PLAIN_BACKGROUNDS
from sanakit.worlds.telling.phrases import is_default
from sanakit.worlds.telling.truth import truth
from sanakit.worlds.telling.wrong_captions import WrongWord, wrong_words

_NUM_TRIES = 30  # draws before a scene is said to have no wrong one of a kind
_COLOUR_SWAP_SHARE = 0.5  # of pairs in two colours exchange them; the others get a new colour
_OTHER_AXIS_SHARE = 0.25  # of wrong relations of two that stand on their own are on the other axis
_OTHER_AXIS: dict[Relation, tuple[Relation, ...]] = {
    "left": ("above", "below"), "right": ("above", "below"), "above": ("left", "right"), "below": ("left", "right"),
}  # fmt: skip


def wrong_scene(scene: Scene, rng: Generator, kind: WrongWord, bank: Bank, *, split: Split = "heldout") -> Scene | None:
    """A scene that differs from ``scene`` in one word, placed anew; None where it has no such word, or no draw fits.

    Beside the changes of `wrong_caption`: two things exchange their colours, a relation becomes one of the other axis,
    a white ground another one, a drawn person another one.

    Args:
        split: "train" gives only scenes without held-out pairings; "heldout" any.
    """
    for _ in range(_NUM_TRIES):
        changed = _changed(scene, rng, kind, bank)
        if changed is None:
            return None
        other = staged(changed, rng, bank)
        if other is not None and (split == "heldout" or belongs_to(other, "train")) and truth(other, scene, bank) < 0:
            return other
    return None


def _changed(scene: Scene, rng: Generator, kind: WrongWord, bank: Bank) -> Scene | None:
    if kind == "thing" and scene.kind == "person":
        person = draw_person(bank.people, rng)
        return replace(scene, objects=(person.placed(scene.objects[0].box),))
    if kind == "ground" and is_default(scene.ground):
        name = pick([name for name in PLAIN_BACKGROUNDS if name != DEFAULT_BACKGROUND], rng)
        return replace(scene, ground=Ground(name=name))
    if kind == "colour" and scene.kind == "pair" and rng.random() < _COLOUR_SWAP_SHARE:
        first, second = scene.objects
        if first.colour and second.colour and first.colour != second.colour:
            exchanged = (replace(first, colour=second.colour), replace(second, colour=first.colour))
            return replace(scene, objects=exchanged)
    if kind in ("left/right", "above/below") and rng.random() < _OTHER_AXIS_SHARE and scene.ground.kind != "place":
        other = _OTHER_AXIS.get(scene.relation) if scene.relation and scene.relation in kind else None
        return None if other is None else replace(scene, relation=pick(other, rng))
    return wrong_words(scene, rng, kind, bank)
