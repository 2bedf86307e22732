"""Words for a scene: one plain wording, and many that mean the same. Nothing is named that is not there."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.casting import pick
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.scenes.description import OPPOSITES, Scene, SceneObject
from sanakit.worlds.scenes.vocabulary import NUMBER_WORDS, SIZE_WORDS
from sanakit.worlds.telling.long_prompts import long_prompt, tagged
from sanakit.worlds.telling.motions import canonical_motion, motion_words
from sanakit.worlds.telling.phrases import (
    NO_RELATION,
    RELATION_WORDINGS,
    STYLES,
    THREE,
    VIEWS,
    ground_wordings,
    has_singular,
    is_default,
    join,
    noun,
    person,
    prefixes,
    wordings,
)

_SYNONYM_SHARE = 0.15
_BARE_SHARE = 0.18  # "red apple" instead of "a red apple"
_ONE_SHARE = 0.06  # "one red apple"
_THE_SHARE = 0.03  # "the red apple"
_PREFIX_SHARE = 0.20
_LONG_SHARE = 0.16  # 30 to 70 words
_TAGGED_SHARE = 0.06  # "a red apple, high quality, soft light"
_SENTENCE_CASE_SHARE = 0.15
_FULL_STOP_SHARE = 0.12
_UPPER_SHARE = 0.01
_GROUND_FIRST_SHARE = 0.06  # "in a park, a dog"
_DEFAULT_GROUND_SHARE = 0.12  # how often the plain white ground is named
_SWAP_SHARE = 0.25  # "B to the right of A" for A left of B
_DIGIT_SHARE = 0.25  # "3 apples"


def canonical_caption(scene: Scene, bank: Bank) -> str:
    """The plainest wording: "a red apple on a blue background", "three stars", "a cat to the left of a dog"."""
    names = [_canonical_noun(scene, thing, bank) for thing in scene.objects]
    text = _arranged(scene, names, 0)
    if scene.style:
        text = f"{STYLES[scene.style][0]} {text}"
    if scene.view:
        text = f"{text} {VIEWS[scene.view][0]}"
    return text if is_default(scene.ground) else f"{text} {ground_wordings(scene.ground, bank)[0]}"


def caption(scene: Scene, rng: Generator, bank: Bank, *, split: Split = "train") -> str:
    """One of many wordings of the scene; some are used in the split "heldout" only."""
    what, ground = _what(scene, rng, bank, split), _ground(scene, rng, bank, split)
    text = join(what, ground)
    draw = rng.random()
    if draw < _LONG_SHARE:
        return long_prompt(scene, text, rng, bank, split)
    if draw < _LONG_SHARE + _TAGGED_SHARE:
        return tagged(scene, text, rng, bank, split)
    if ground and rng.random() < _GROUND_FIRST_SHARE:
        text = f"{ground}, {what}"
    elif scene.style is None and rng.random() < _PREFIX_SHARE:
        text = f"{pick(prefixes(scene, bank, split), rng)} {text}"
    elif scene.kind == "single" and rng.random() < _BARE_SHARE:
        text = text.removeprefix("a ").removeprefix("an ")
    if rng.random() < _UPPER_SHARE:
        return text.upper()
    if rng.random() < _SENTENCE_CASE_SHARE:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < _FULL_STOP_SHARE else text


def _what(scene: Scene, rng: Generator, bank: Bank, split: Split) -> str:
    """Things, their relation, style and side."""
    if scene.kind == "pair":
        text = _pair(scene, rng, bank, split)
    else:
        names = [_noun(scene, thing, rng, bank, split) for thing in _shuffled(scene, rng)]
        text = pick(wordings(THREE, split), rng).format(*names) if scene.kind == "trio" else names[0]
    if scene.style:
        text = f"{pick(wordings(STYLES[scene.style], split), rng)} {text}"
    return f"{text} {pick(wordings(VIEWS[scene.view], split), rng)}" if scene.view else text


def _ground(scene: Scene, rng: Generator, bank: Bank, split: Split) -> str:
    if is_default(scene.ground) and rng.random() >= _DEFAULT_GROUND_SHARE:
        return ""
    return pick(wordings(ground_wordings(scene.ground, bank), split), rng)


def _pair(scene: Scene, rng: Generator, bank: Bank, split: Split) -> str:
    first, second = scene.objects
    relation = scene.relation
    if relation is None:
        first, second = (second, first) if rng.random() < 0.5 else (first, second)
        pool: Sequence[str] = NO_RELATION
    else:
        if relation in OPPOSITES and rng.random() < _SWAP_SHARE:
            first, second, relation = second, first, OPPOSITES[relation]
        pool = RELATION_WORDINGS[relation]
    names = [_noun(scene, thing, rng, bank, split) for thing in (first, second)]
    return pick(wordings(pool, split), rng).format(*names)


def _arranged(scene: Scene, names: Sequence[str], number: int) -> str:
    if scene.kind == "pair":
        return (RELATION_WORDINGS[scene.relation] if scene.relation else NO_RELATION)[number].format(*names)
    return THREE[number].format(*names) if scene.kind == "trio" else names[0]


def _shuffled(scene: Scene, rng: Generator) -> Sequence[SceneObject]:
    if scene.kind != "trio":
        return scene.objects
    return [scene.objects[number] for number in rng.permutation(scene.count)]


def _noun(scene: Scene, thing: SceneObject, rng: Generator, bank: Bank, split: Split) -> str:
    """What it is, and what it does."""
    return join(_named(scene, thing, rng, bank), motion_words(thing.motion, rng, split))


def _named(scene: Scene, thing: SceneObject, rng: Generator, bank: Bank) -> str:
    if scene.kind == "person":
        return person(thing)
    known = bank.things[thing.name]
    synonym = bool(known.synonyms) and rng.random() < _SYNONYM_SHARE
    words = pick(known.synonyms, rng) if synonym else (known.name, known.plural)
    size = pick(SIZE_WORDS[scene.size], rng) if scene.size else None
    number = str(scene.count) if rng.random() < _DIGIT_SHARE else NUMBER_WORDS[scene.count]
    if scene.kind != "count" and has_singular(words) and (draw := rng.random()) < _ONE_SHARE + _THE_SHARE:
        return join("one" if draw < _ONE_SHARE else "the", size, thing.colour, words[0])
    return noun(scene, words, size=size, colour=thing.colour, number=number)


def _canonical_noun(scene: Scene, thing: SceneObject, bank: Bank) -> str:
    if scene.kind == "person":
        name = person(thing)
    else:
        known = bank.things[thing.name]
        name = noun(scene, (known.name, known.plural), size=scene.size, colour=thing.colour, number=None)
    return join(name, canonical_motion(thing.motion))
