"""Captions are read back word by word: they must say what is there, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sanakit.worlds.scenes.captions import canonical_caption, caption
from sanakit.worlds.scenes.placing import place_count, place_pair, place_single
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank
from sanakit.worlds.scenes.vocabulary import COLOURS, ITEMS, PLAIN_BACKGROUNDS, SIZE_WORDS

SCENERY = {
    "night": r"(at night with stars in the sky|at night|in the night sky|in front of the night sky)",
    "grass": r"(on the grass|on green grass|in a meadow|on a grass field)",
    "beach": r"(on the beach|at the beach|on a beach by the sea)",
    "snow": r"(in the snow|on the snow|in a snowy field)",
}
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "2": 2, "3": 3, "4": 4}
FORMS = {
    form: (item.name, number)
    for item in ITEMS.values()
    for pair in ((item.name, item.plural), *item.synonyms)
    for form, number in zip(pair, ("one", "many"), strict=True)
}
SIZES = {word: size for size, words in SIZE_WORDS.items() for word in words}
OBJECT = re.compile(
    rf"^(?:(?P<number>{'|'.join(NUMBERS)}|an?) )?(?:(?P<size>{'|'.join(SIZES)}) )?(?:(?P<colour>{'|'.join(COLOURS)}) )?"
    rf"(?P<form>{'|'.join(sorted(FORMS, key=len, reverse=True))})$"
)
RELATIONS = [
    (r"(.+) (?:to|on) the left of (.+)|(.+) left of (.+)|(.+) on the left and (.+) on the right", "left"),
    (r"(.+) (?:to|on) the right of (.+)|(.+) right of (.+)|(.+) on the right and (.+) on the left", "right"),
    (r"(.+) (?:above|over|on top of) (.+)|(.+) at the top and (.+) at the bottom", "above"),
    (r"(.+) (?:below|under|beneath) (.+)|(.+) at the bottom and (.+) at the top", "below"),
    (r"(.+) and (.+) side by side|(.+) (?:and|next to|beside|with) (.+)", None),
]
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def read(text: str) -> tuple[list[tuple[int, str | None, str | None, str]], str | None, str]:
    """(number, size, colour, name) of every object, the relation of the first to the second, the background."""
    text = text.lower().removesuffix(".")
    text = re.sub(r"^an? (picture|image|drawing|illustration|emoji|cartoon) of ", "", text)
    text, background = read_background(text)
    for pattern, relation in RELATIONS:
        if found := re.fullmatch(pattern, text):
            return [read_object(part) for part in found.groups() if part], relation, background
    return [read_object(text)], None, background


def read_background(text: str) -> tuple[str, str]:
    for name, pattern in SCENERY.items():
        if re.search(f" {pattern}$", text):
            return re.sub(f" {pattern}$", "", text), name
    if found := re.fullmatch(r"(.+?)(?:,| (?:on|with|against) an?) (\w+) background", text):
        assert found[2] in PLAIN_BACKGROUNDS
        return found[1], found[2]
    return text, "white"


def read_object(text: str) -> tuple[int, str | None, str | None, str]:
    found = OBJECT.match(text)
    assert found, f"not an object of our world: {text!r}"
    name, number = FORMS[found["form"]]
    count = NUMBERS.get(found["number"] or "one", 1)
    assert (count > 1) == (number == "many") or ITEMS[name].plural == ITEMS[name].name
    return count, SIZES.get(found["size"]), found["colour"], name


def assert_says(text: str, scene: Scene) -> None:
    objects, relation, background = read(text)
    if scene.kind == "pair":
        truth = [(1, scene.size, thing.colour, thing.name) for thing in scene.objects]
        swapped = objects == truth[::-1]
        assert objects == truth or swapped, text
        expected = INVERSE[scene.relation] if swapped and scene.relation else scene.relation
        assert relation == expected, text
    else:
        thing = scene.objects[0]
        assert objects == [(scene.count, scene.size, thing.colour, thing.name)], text
    assert background == scene.background, text


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_captions_say_exactly_what_is_there(split: str) -> None:
    data = StarterScenes(load_sprite_bank(), split, seed=5)  # type: ignore[arg-type]
    for index in range(1500):
        scene, text = data.truth(index)
        assert_says(text, scene)
        assert_says(canonical_caption(scene), scene)


def test_canonical_wordings() -> None:
    rng = np.random.default_rng(0)
    assert (
        canonical_caption(place_single(("apple", "red"), rng, background="blue")) == "a red apple on a blue background"
    )
    assert canonical_caption(place_single(("apple", None), rng, size="small")) == "a small apple"
    assert canonical_caption(place_single(("umbrella", None), rng, background="orange")) == (
        "an umbrella on an orange background"
    )
    assert canonical_caption(place_count(("star", None), 3, rng, background="night")) == "three stars at night"
    pair = place_pair(("cat", None), ("dog", "black"), rng, relation="left")
    assert canonical_caption(pair) == "a cat to the left of a black dog"
    assert canonical_caption(place_pair(("cat", None), ("dog", None), rng)) == "a cat and a dog"


def test_one_scene_has_many_wordings() -> None:
    rng = np.random.default_rng(0)
    scene = place_pair(("cat", None), ("dog", None), rng, relation="left")
    wordings = {caption(scene, rng).lower().removesuffix(".") for _ in range(300)}
    assert {"a cat to the left of a dog", "a dog to the right of a cat"} <= wordings
    assert len(wordings) > 20
