"""Captions: true of their scenes, varied, long where they should be, and wrong by one word where asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.holdout import is_heldout
from sanakit.worlds.scenes.description import Ground, Scene, SceneObject
from sanakit.worlds.telling import long_prompts, phrases
from sanakit.worlds.telling.captions import canonical_caption, caption
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, WrongWord, wrong_caption
from sanakit.worlds.world_scenes import WorldScenes

NUM = 800


@pytest.fixture(scope="module")
def truths(toy_bank: Bank) -> list[tuple[Scene, str]]:
    world = WorldScenes(toy_bank, "train", seed=11)
    return [world.truth(index) for index in range(NUM)]


def thing(name: str, colour: str | None = None, x: float = 0.25) -> SceneObject:
    return SceneObject(name=name, look=f"{name}-3d", colour=colour, box=(x - 0.2, 0.3, x + 0.2, 0.7))


def test_canonical_captions(toy_bank: Bank) -> None:
    dog, apple = thing("dog"), thing("apple", "red", 0.75)
    park = Ground(kind="place", name="park")
    cases = {
        "a dog": Scene(kind="single", objects=(dog,)),
        "a small dog in a park": Scene(kind="single", objects=(dog,), size="small", ground=park),
        "a dog seen from behind on an orange background": Scene(
            kind="single", objects=(dog,), view="behind", ground=Ground(name="orange")
        ),
        "three red apples": Scene(kind="count", objects=(apple,) * 3),
        "a flat drawing of a dog to the left of a red apple": Scene(
            kind="pair", objects=(dog, apple), relation="left", style="flat"
        ),
        "a red apple in front of a dog": Scene(kind="pair", objects=(apple, dog), relation="in front"),
        "a red apple on a dog at night": Scene(
            kind="pair", objects=(apple, dog), relation="on", ground=Ground(kind="drawn", name="night")
        ),
    }
    for text, scene in cases.items():
        assert canonical_caption(scene, toy_bank) == text
    parts = (("expression", "smiling"), ("glasses", "glasses"), ("hair", "red"))
    person = replace(dog, name="person", look="person-0", parts=parts)
    scene = Scene(kind="person", objects=(person,))
    assert canonical_caption(scene, toy_bank) == "a smiling person with red hair and glasses"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("jeans", "pairs of jeans"), "blue jeans"),
        (("bread", "loaves of bread"), "blue bread"),
        (("beans", "beans"), "blue beans"),
        (("fish", "fish"), "a blue fish"),
        (("cup of tea", "cups of tea"), "a blue cup of tea"),
    ],
)
def test_what_has_no_singular_has_no_article(words: tuple[str, str], text: str) -> None:
    scene = Scene(kind="single", objects=(thing(words[0], "blue"),))
    assert phrases.noun(scene, words, size=None, colour="blue", number=None) == text


def test_captions_name_what_is_there(truths: list[tuple[Scene, str]], toy_bank: Bank) -> None:
    for scene, text in truths:
        for thing in scene.objects:
            known = toy_bank.things.get(thing.name)
            words = [thing.name] if known is None else [known.name, *(one for one, _ in known.synonyms), "puppies"]
            assert any(word in text.lower() for word in words), text
        if scene.objects[0].colour:
            assert scene.objects[0].colour in text.lower()
        if scene.kind == "count":
            assert str(scene.count) in text or ["two", "three", "four"][scene.count - 2] in text.lower()
        if scene.ground.kind == "place":
            assert scene.ground.name in text.lower()


def test_captions_name_nothing_else(truths: list[tuple[Scene, str]], toy_bank: Bank) -> None:
    for scene, text in truths:
        there = {thing.name for thing in scene.objects}
        words = set(text.lower().replace(",", " ").replace(".", " ").split())
        told = {name for name in toy_bank.things if {name, f"{name}s"} & words}
        assert told <= there, text


def test_some_captions_are_long_and_friendly(truths: list[tuple[Scene, str]]) -> None:
    lengths = np.array([len(text.split()) for _, text in truths])
    long = lengths[lengths >= 30]
    assert 0.10 < len(long) / NUM < 0.22
    assert long.max() <= 75


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "fills"),
        ({"size": "small"}, "fills"),
        ({"kind": "pair", "relation": "behind"}, "whole thing"),
        ({"kind": "count"}, "whole thing"),
        ({"look": "dog-rendered"}, "draw"),
        ({"ground": Ground(kind="drawn", name="night")}, "bright"),
        ({"ground": Ground(kind="graded", name="black red")}, "well lit"),
        ({"kind": "person", "parts": (("expression", "sad"),)}, "cheerful"),
    ],
)
def test_long_captions_do_not_contradict_the_scene(toy_bank: Bank, changes: dict[str, Any], word: str) -> None:
    dog = replace(thing("dog"), **{key: changes[key] for key in ("look", "parts") if key in changes})
    of_scene = {key: value for key, value in changes.items() if key not in ("look", "parts")}
    others = (thing("apple", None, 0.75),) if changes.get("kind") in ("pair", "count") else ()
    scene = Scene(**{"kind": "single", **of_scene, "objects": (dog, *others)})
    rng, said = np.random.default_rng(0), ""
    for _ in range(150):
        said += long_prompts.long_prompt(scene, "CORE", rng, toy_bank, "heldout").lower()
        said += long_prompts.tagged(scene, "CORE", rng, toy_bank, "heldout").lower()
    assert word not in said
    plain = long_prompts.true_of(
        replace(scene, kind="single", objects=(thing("dog"),), size="big", ground=Ground()),
        (*long_prompts._OPENINGS, *long_prompts._SENTENCES, *long_prompts._TAGS),
        toy_bank,
    )
    assert any(word in text.lower() for text in plain)  # where it is true it is said


def test_keywords_that_say_something_else_are_no_tags(toy_bank: Bank) -> None:
    words = ("woof", "puppies", "cat", "cats", "Red", "two", "little", "beach", "park", "grey", "two-hump", "barking")
    things = [replace(each, keywords=words) if each.name == "dog" else each for each in toy_bank.things.values()]
    bank = Bank(toy_bank.folder, "toy", things, toy_bank.places.values(), toy_bank.people)
    own = tuple(
        word for word in words if word in ("woof", "barking", *(w for w, n in bank.called.items() if n == {"dog"}))
    )
    assert long_prompts.own_keywords("dog", bank) == own
    assert long_prompts.own_keywords("dog", bank.subset(["dog", "apple"])) == own  # a cat is no dog there either
    assert long_prompts.own_keywords("person", bank) == ()


def test_captions_vary(truths: list[tuple[Scene, str]], toy_bank: Bank) -> None:
    rng = np.random.default_rng(0)
    scene = next(scene for scene, _ in truths if scene.relation == "left")
    assert len({caption(scene, rng, toy_bank) for _ in range(200)}) > 60


def test_held_out_wordings_are_not_trained(truths: list[tuple[Scene, str]]) -> None:
    heldout = [word for pool in phrases.VIEWS.values() for word in pool[1:] if is_heldout(f"wording|{word}")]
    openings = [word for word in phrases.PREFIXES[1:] if is_heldout(f"wording|{word}")]
    assert heldout
    assert openings
    assert not any(word in text.lower() for _, text in truths for word in heldout)
    assert not any(text.lower().startswith(word) for _, text in truths for word in openings)
    pool = tuple(f"wording {number}" for number in range(100))
    assert len(phrases.wordings(pool, "train")) < len(phrases.wordings(pool, "heldout")) == 100


@pytest.mark.parametrize("kind", WRONG_WORDS)
def test_wrong_captions_differ_and_exist(truths: list[tuple[Scene, str]], toy_bank: Bank, kind: WrongWord) -> None:
    rng = np.random.default_rng(0)
    made = 0
    for scene, _ in truths:
        wrong = wrong_caption(scene, rng, kind, toy_bank)
        if wrong is not None:
            made += 1
            right = canonical_caption(scene, toy_bank)
            assert wrong != right
            assert abs(len(wrong.split()) - len(right.split())) <= 3
    assert made >= 10


def test_a_wrong_relation_is_the_opposite(toy_bank: Bank) -> None:
    rng = np.random.default_rng(0)
    left = Scene(kind="pair", objects=(thing("dog"), thing("apple", None, 0.75)), relation="left")
    assert wrong_caption(left, rng, "left/right", toy_bank) == "a dog to the right of an apple"
    assert wrong_caption(left, rng, "above/below", toy_bank) is None
    assert wrong_caption(left, rng, "colour", toy_bank) is None
