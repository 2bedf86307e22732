"""Articles, plurals, parts of people and what wordings there are of a ground, word by word."""

from __future__ import annotations

import pytest

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.scenes.description import Ground, Scene, SceneObject
from sanakit.worlds.telling.phrases import ground_wordings, has_singular, is_default, join, noun, person, with_article


@pytest.mark.parametrize(
    ("words", "article"),
    [
        ("apple", "an"), ("Elephant", "an"), ("dog", "a"), ("hourglass", "an"), ("heirloom", "an"), ("house", "a"),
        ("unicorn", "a"), ("USB stick", "a"), ("ufo", "a"), ("ukulele", "a"), ("umbrella", "an"), ("euro", "a"),
        ("one-way sign", "a"), ("onion", "an"), ("used car", "a"), ("utensil", "a"), ("igloo", "an"),
        ("honest man", "an"),
    ],
)  # fmt: skip
def test_articles_go_by_the_sound(words: str, article: str) -> None:
    assert with_article(words) == f"{article} {words}"


def test_words_are_joined_where_there_are_any() -> None:
    assert join("a", None, "", "red", "dog") == "a red dog"


@pytest.mark.parametrize(
    ("singular", "plural", "has"),
    [
        ("dog", "dogs", True), ("fish", "fish", True), ("swordfish", "swordfish", True), ("reindeer", "reindeer", True),
        ("scissors", "scissors", False), ("jeans", "pairs of jeans", False), ("bread", "loaves of bread", False),
        ("cup of tea", "cups of tea", True),
    ],
)  # fmt: skip
def test_what_has_a_singular(singular: str, plural: str, has: bool) -> None:
    assert has_singular((singular, plural)) == has


def test_nouns() -> None:
    dog = SceneObject(name="dog", look="dog", box=(0, 0, 1, 1))
    one, three = Scene(kind="single", objects=(dog,)), Scene(kind="count", objects=(dog,) * 3)
    said = {"size": "big", "colour": "orange"}
    assert noun(one, ("dog", "dogs"), **said, number="3") == "a big orange dog"
    assert noun(three, ("dog", "dogs"), **said, number="3") == "3 big orange dogs"
    assert noun(three, ("dog", "dogs"), size=None, colour=None, number=None) == "three dogs"
    assert noun(one, ("dog", "dogs"), size=None, colour="orange", number=None) == "an orange dog"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), "a person"),
        ((("expression", "angry"),), "an angry person"),
        ((("beard", "beard"),), "a person with a beard"),
        ((("beard", "beard"), ("hair", "red")), "a person with red hair and a beard"),  # hair comes first
        ((("hair", "no hair"),), "a person with no hair"),
        ((("glasses", "glasses"),), "a person with glasses"),
        ((("dress", "dress"),), "a person with a dress"),
        ((("eyes", "one eye"),), "a person with one eye"),
        ((("face", "no face"), ("hat", "orange cap")), "a person with no face and an orange cap"),
        ((("drawn", "round"), ("colour", "blue")), "a round blue person"),
    ],
)
def test_people(parts: tuple[tuple[str, str], ...], text: str) -> None:
    assert person(SceneObject(name="person", look="p", box=(0, 0, 1, 1), parts=parts)) == text


def test_grounds(toy_bank: Bank) -> None:
    assert ground_wordings(Ground(name="orange"), toy_bank)[:2] == (
        "on an orange background", "with an orange background",
    )  # fmt: skip
    assert ground_wordings(Ground(name="red"), toy_bank)[-1] == "before a red background"
    graded = ground_wordings(Ground(kind="graded", name="orange red"), toy_bank)
    assert graded[0] == "on a background fading from orange to red"
    assert graded[1] == "on an orange to red gradient background"
    assert ground_wordings(Ground(kind="place", name="park"), toy_bank) == ("in a park", "in the park")
    assert ground_wordings(Ground(kind="drawn", name="snow"), toy_bank)[0] == "in the snow"
    assert is_default(Ground())
    assert not is_default(Ground(name="red"))
    assert not is_default(Ground(kind="graded", name="white"))
