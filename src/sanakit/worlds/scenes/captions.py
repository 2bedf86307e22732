"""Words for a scene: one plain wording, and many that mean the same. Nothing is named that is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from numpy.random import Generator

from sanakit.worlds.scenes.scene import OPPOSITES, Relation, Scene, SceneObject
from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND, ITEMS, NUMBER_WORDS, SCENE_BACKGROUNDS, SIZE_WORDS

T = TypeVar("T")

_SYNONYM_SHARE = 0.15
_BARE_SHARE = 0.15  # "red apple" instead of "a red apple"
_ONE_SHARE = 0.08  # "one red apple"
_PREFIX_SHARE = 0.20
_SENTENCE_CASE_SHARE = 0.15
_FULL_STOP_SHARE = 0.12
_DEFAULT_BACKGROUND_SHARE = 0.12  # how often the plain white background is named
_SWAP_SHARE = 0.30  # "B to the right of A" for A left of B

_PREFIXES = ("a picture of", "an image of", "a drawing of", "an illustration of", "an emoji of", "a cartoon of")
_PLAIN_BACKGROUND = ("on a {} background", "with a {} background", "against a {} background")
_SCENE_BACKGROUND = {
    "night": ("at night", "in the night sky", "at night with stars in the sky", "in front of the night sky"),
    "grass": ("on the grass", "on green grass", "in a meadow", "on a grass field"),
    "beach": ("on the beach", "at the beach", "on a beach by the sea"),
    "snow": ("in the snow", "on the snow", "in a snowy field"),
}
_RELATIONS: Mapping[Relation, Sequence[str]] = {
    "left": ("{} to the left of {}", "{} on the left of {}", "{} left of {}", "{} on the left and {} on the right"),
    "right": ("{} to the right of {}", "{} on the right of {}", "{} right of {}", "{} on the right and {} on the left"),
    "above": ("{} above {}", "{} over {}", "{} on top of {}", "{} at the top and {} at the bottom"),
    "below": ("{} below {}", "{} under {}", "{} beneath {}", "{} at the bottom and {} at the top"),
}
_NO_RELATION = ("{} and {}", "{} and {}", "{} next to {}", "{} beside {}", "{} with {}", "{} and {} side by side")


def canonical_caption(scene: Scene) -> str:
    """The plainest wording: "a red apple on a blue background", "three stars", "a cat to the left of a dog"."""
    phrases = [_canonical_phrase(scene, thing) for thing in scene.objects]
    if scene.kind == "pair":
        text = (_RELATIONS[scene.relation] if scene.relation else _NO_RELATION)[0].format(*phrases)
    else:
        text = phrases[0]
    if scene.background == DEFAULT_BACKGROUND:
        return text
    return f"{text} {_background_wordings(scene.background)[0].format(scene.background)}"


def caption(scene: Scene, rng: Generator) -> str:
    """One of many wordings of the scene."""
    text = _pair_text(scene, rng) if scene.kind == "pair" else _phrase(scene, scene.objects[0], rng)
    text += _background_text(scene, rng)
    if rng.random() < _PREFIX_SHARE:
        text = f"{pick(_PREFIXES, rng)} {text}"
    elif scene.kind == "single" and rng.random() < _BARE_SHARE:
        text = text.removeprefix("a ").removeprefix("an ")
    if rng.random() < _SENTENCE_CASE_SHARE:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < _FULL_STOP_SHARE else text


def _pair_text(scene: Scene, rng: Generator) -> str:
    first, second = scene.objects
    relation = scene.relation
    if relation is None:
        first, second = (second, first) if rng.random() < 0.5 else (first, second)
        return pick(_NO_RELATION, rng).format(_phrase(scene, first, rng), _phrase(scene, second, rng))
    if rng.random() < _SWAP_SHARE:
        first, second, relation = second, first, OPPOSITES[relation]
    return pick(_RELATIONS[relation], rng).format(_phrase(scene, first, rng), _phrase(scene, second, rng))


def _phrase(scene: Scene, thing: SceneObject, rng: Generator) -> str:
    item = ITEMS[thing.name]
    synonym = rng.random() < _SYNONYM_SHARE and item.synonyms
    singular, plural = pick(item.synonyms, rng) if synonym else (item.name, item.plural)
    size = pick(SIZE_WORDS[scene.size], rng) if scene.size else None
    if scene.kind == "count":
        number = NUMBER_WORDS[scene.count] if rng.random() < 0.75 else str(scene.count)
        return _join(number, size, thing.colour, plural)
    words = _join(size, thing.colour, singular)
    return f"one {words}" if rng.random() < _ONE_SHARE else _with_article(words)


def _background_text(scene: Scene, rng: Generator) -> str:
    if scene.background == DEFAULT_BACKGROUND and rng.random() >= _DEFAULT_BACKGROUND_SHARE:
        return ""
    if scene.background not in SCENE_BACKGROUNDS and rng.random() < 0.1:
        return f", {scene.background} background"
    return " " + pick(_background_wordings(scene.background), rng).format(scene.background)


def _background_wordings(background: str) -> Sequence[str]:
    if background not in SCENE_BACKGROUNDS:
        vowel = background[0] in "aeiou"
        return tuple(wording.replace(" a {}", " an {}") if vowel else wording for wording in _PLAIN_BACKGROUND)
    return _SCENE_BACKGROUND[background]


def _canonical_phrase(scene: Scene, thing: SceneObject) -> str:
    item = ITEMS[thing.name]
    if scene.kind == "count":
        return _join(NUMBER_WORDS[scene.count], scene.size, thing.colour, item.plural)
    return _with_article(_join(scene.size, thing.colour, item.name))


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _join(*words: str | None) -> str:
    return " ".join(word for word in words if word)


def pick(choices: Sequence[T], rng: Generator) -> T:
    """One of them, each equally likely."""
    return choices[int(rng.integers(len(choices)))]
