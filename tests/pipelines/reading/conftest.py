"""A small table of words, as ``words_of`` writes them."""

from __future__ import annotations

from typing import Any

import pytest

from sanakit.pipelines.reading.read import PromptReader
from sanakit.pipelines.reading.words import Words
from sanakit.worlds.words.table import languages


def thing(name: str, plural: str, emoji: str, keywords: str = "", **names: str) -> dict[str, object]:
    return {
        "name": name, "plural": plural, "synonyms": [["kitten", "kittens"]] if name == "cat" else [],
        "keywords": keywords.split(), "emoji": emoji.split(),
        "names": {code: told.split("|") for code, told in names.items()},
    }  # fmt: skip


THINGS = [
    thing("cat", "cats", "🐱 🐈", "pet animal", de="Katze", es="gato", fr="chat", it="gatto", pt="gato", ru="кошка|кот",
          zh="猫", ja="猫|ネコ", ko="고양이", nl="kat"),
    thing("dog", "dogs", "🐶", "pet animal", de="Hund", es="perro", fr="chien", it="cane", pt="cachorro", ru="собака",
          zh="狗", ja="犬", ko="개", nl="hond"),
    thing("apple", "apples", "🍎", "fruit food", de="roter Apfel|Apfel", es="manzana|pan", fr="pomme", it="mela",
          pt="maçã", ru="яблоко", zh="红苹果|苹果", ja="赤リンゴ|リンゴ|りんご", ko="사과", nl="appel",
          pl="czerwone jabłko", tr="kırmızı elma", hi="सेब|लाल", da="rødt æble"),
    thing("car", "cars", "🚗", "vehicle road", de="Auto", es="coche", fr="voiture", it="auto", pt="carro", zh="汽车",
          nl="auto", hi="कार"),
    thing("jeans", "jeans", "👖", "clothing", de="Jeans"),
    thing("rose", "roses", "🌹", "flower", de="Rose", es="rosa", fr="rose"),
    thing("heart", "hearts", "💙", "love", fr="cœur rouge|cœur"),
    thing("book", "books", "📘", "blue", es="libro azul", ja="青の本", ko="파란색 책", zh="书"),
    thing("bread", "loaves of bread", "🍞", "food", fr="pain"),
    thing("table", "tables", "", "furniture", de="Tisch", zh="桌子", ja="机", ko="책상"),
    thing("hat", "hats", "🎩", "clothing", de="Hut", es="sombrero", fr="chapeau", zh="帽子", ja="帽子", ko="모자",
          ru="шляпа"),
    thing("man", "men", "👨", "person"),
]  # fmt: skip
TABLE: dict[str, Any] = {
    "things": THINGS,
    "colours": ["red", "blue", "black", "white", "green", "pink"],
    "numbers": ["one", "two", "three", "four"],
    "sizes": {"small": ["small", "tiny"], "big": ["big", "large"]},
    "positions": ["to the left of", "to the right of", "above", "below", "in front of", "behind", "on"],
    "grounds": ["beach", "snow"],
    "other_words": ["please", "surprise", "charming"],
    "untrained": {"unicorn": ["dog"], "violin": ["car", "apple"]},
    "untrained_emoji": {"🦄": "unicorn"},
    "languages": languages(),
}


@pytest.fixture(scope="session")
def reader() -> PromptReader:
    return PromptReader(Words(TABLE))


@pytest.fixture
def table() -> dict[str, Any]:
    return TABLE
