"""Prompts as people write them, in English at the end."""

from __future__ import annotations

import time

import pytest

from sanakit.pipelines.reading.read import PromptReader
from sanakit.pipelines.reading.unknown import told
from sanakit.pipelines.reading.words import Words

ENGLISH = [
    "a red apple", "THE CAT", "Two kittens, please!", "a blue car on the beach", "a cat's dog", "", "  a  cat ", "42",
    "I would love a charming picture of a tiny red apple to the left of a car, please. It is a surprise.",
]  # fmt: skip


@pytest.mark.parametrize("prompt", ENGLISH)
def test_english_is_left_as_it_is(reader: PromptReader, prompt: str) -> None:
    reading = reader.read(prompt)
    assert reading.text == prompt
    assert reading.unknown == ()


@pytest.mark.parametrize(
    ("prompt", "english"),
    [
        ("🍎", "an apple"),
        ("🍎🍎🍎", "three apples"),
        ("🍎 🍎", "two apples"),
        ("🐱🐶", "a cat and a dog"),
        ("🐱🐶🚗", "a cat, a dog and a car"),
        ("a 🐱 on the beach", "a cat on the beach"),
        ("two 🍎, please!", "two apples, please!"),
        ("a 🍎 and an 🐱", "an apple and a cat"),
        ("a red 🚗", "a red car"),
        ("❤️ 🐈\u200d⬛", "❤️ and a cat"),  # a black cat is a cat; nobody knows the heart
        ("👖", "jeans"),
        ("🍞", "bread"),
        ("👨🏽", "a man"),
        ("👨\u200d🦰", "a man"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),  # a family is no man
        ("👨\u200d🚒", "👨\u200d🚒"),
        ("🇩🇪", "🇩🇪"),
        ("🇩🇪🇫🇷🐱", "🇩🇪, 🇫🇷 and a cat"),
    ],
)
def test_emoji_are_named(reader: PromptReader, prompt: str, english: str) -> None:
    assert reader.read(prompt).text == english


@pytest.mark.parametrize(
    ("prompt", "english"),
    [
        ("Katze", "a cat"),
        ("ein roter Apfel", "a red apple"),
        ("zwei rote Äpfel", "two red apples"),
        ("roter Apfel", "a red apple"),
        ("rotes Auto", "a red car"),
        ("红苹果", "a red apple"),
        ("coeur bleu", "a blue heart"),
        ("deux cœurs rouges", "two red hearts"),
        ("libro", "a book"),
        ("dos libros azules", "two blue books"),
        ("本", "a book"),
        ("빨간 책", "a red book"),
        ("una rosa roja", "a red rose"),
        ("une rose rose", "a pink rose"),
        ("eine rote Rose", "a red rose"),
        ("un gato rosa y una rosa", "a pink cat and a rose"),
        ("una camisa rosa con un gato", "camisa pink with a cat"),
        ("un pain", "bread"),
        ("ein Hund links von einer schwarzen Katze", "a dog to the left of a black cat"),
        ("ein Spielzeugauto am Strand", "a car on the beach"),
        ("eine Katze auf blauem Hintergrund", "a cat on a blue background"),
        ("ein roter Apfel mit 🐶", "a red apple with a dog"),
        ("drei 🍎 am Strand", "three apples on the beach"),
        ("Jeans im Schnee", "jeans in the snow"),
        ("un gato negro", "a black cat"),
        ("dos perros negros", "two black dogs"),
        ("una manzana roja sobre un fondo azul", "a red apple on a blue background"),
        ("un chien à gauche d'un chat", "a dog to the left of a cat"),
        ("deux chats noirs sur la plage", "two black cats on the beach"),
        ("un gatto nero", "a black cat"),
        ("uma maçã grande", "a big apple"),
        ("een zwarte kat", "a black cat"),
        ("чёрная кошка", "a black cat"),
        ("две красные собаки", "two red dogs"),
        ("кошка и трамвай", "a cat and трамвай"),  # a word that nobody knows stays
        ("一只猫", "a cat"),
        ("两只红色的猫", "two red cats"),
        ("猫在狗的左边", "a cat to the left of a dog"),
        ("狗的左边有一只猫", "a cat to the left of a dog"),
        ("蓝色背景上的红苹果", "on a blue background a red apple"),
        ("赤いりんごが2つ", "two red apples"),
        ("犬の左に猫がいる", "a cat to the left of a dog"),
        ("빨간 사과 두 개", "two red apples"),
        ("검은 고양이가", "a black cat"),
        ("czerwone jabłko", "a red apple"),
        ("jablko", "an apple"),
        ("kırmızı elma", "a red apple"),
        ("elma", "an apple"),
        ("blåt æble", "a blue apple"),
        ("लाल कार", "a red car"),  # the word is called a name of the apple too
        ("苹果在桌子上", "an apple on a table"),
        ("桌子上有一个苹果", "an apple on a table"),
        ("书上的猫", "a cat on a book"),
        ("桌子下的狗", "a dog below a table"),
        ("汽车里的猫", "a cat in a car"),
        ("盒子里的猫", "a cat in 盒子"),
        ("盒子上有一只猫", "a cat on 盒子"),
        ("皇后", "皇后"),  # the second sign alone is "behind"
        ("猫在狗后面", "a cat behind a dog"),
        ("机の上のりんご", "an apple on a table"),
        ("책상 위의 고양이", "a cat on a table"),
        ("Ich hätte gerne ein schönes Bild von einer Katze für meine Tochter", "a cat"),
        ("Zeichne mir bitte einen Hund auf dem Tisch", "a dog on a table"),
        ("Me gustaría ver un gato negro, por favor", "a black cat"),
        ("je voudrais un chat noir pour ma fille", "a black cat"),
        ("Hund ohne Hut", "a dog"),
        ("ein Hund ohne Hut und Brille und eine Katze", "a dog and a cat"),
        ("un perro sin sombrero negro", "a dog"),
        ("没有帽子的狗", "a dog"),
        ("帽子のない犬", "a dog"),
        ("모자 없는 개", "a dog"),
        ("кот без шляпы", "a cat"),
        ("cat 猫", "a cat"),
        ("pain", "pain"),
        ("die hard des moines", "die hard des moines"),
        ("an Apfel", "an apple"),
        ("a red 苹果", "a red apple"),
    ],
)
def test_other_languages_are_read(reader: PromptReader, prompt: str, english: str) -> None:
    assert reader.read(prompt).text == english
    assert reader.read(english).text == english  # and once read it stays


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a xylophone", [("xylophone", ())]),
        ("a violin and a cat", [("violin", ("car", "apple"))]),
        ("🦄", [("unicorn", ("dog",))]),
        ("two red unicorns", [("unicorns", ("dog",))]),
        ("two appples", [("appples", ("apples", "apple"))]),
        ("a card", [("card", ())]),  # of four letters: no slip of the pen
        ("a vehicle", [("vehicle", ("car",))]),
        ("an apple, a fruit", []),  # beside a thing that it belongs to
        ("pan", [("pan", ())]),  # and no Spanish bread
        ("a dancing cat", [("dancing", ())]),
        ("a cat, high quality, 4k", []),
        ("👍🏽", [("👍🏽", ())]),
        ("🇩🇪 🇫🇷 🇩🇪", [("🇩🇪", ()), ("🇫🇷", ())]),
        ("👨\u200d👩\u200d👧", [("👨\u200d👩\u200d👧", ())]),
        ("1️⃣", [("1️⃣", ())]),
        ("x 龙", [("龙", ())]),
        ("长颈鹿在桌子上", [("长颈鹿", ())]),
        ("Zeichne mir bitte einen Elefanten", [("elefanten", ())]),
    ],
)
def test_unknown_words_are_told_with_the_nearest(
    reader: PromptReader, prompt: str, unknown: list[tuple[str, tuple[str, ...]]]
) -> None:
    found = reader.read(prompt).unknown
    assert [(each.word, each.nearest) for each in found] == unknown


def test_one_sentence_names_the_words_and_the_nearest(reader: PromptReader) -> None:
    assert told(reader.read("a violin").unknown, "the starter") == (
        'the starter was not trained on "violin"; nearest: car, apple'
    )
    many = reader.read("grandparents, memory, violins, games, drums, newspapers and glasses").unknown
    assert told(many, "it") == (
        'it was not trained on "violins" (nearest: car, apple), "grandparents", "memory", "games", "drums" '
        "and 2 other words"
    )


def test_a_table_that_is_not_all_tells_nothing_of_unknown_words() -> None:
    words = Words({"things": [], "tells_unknown": False})
    assert PromptReader(words).read("a xylophone").unknown == ()


@pytest.mark.parametrize("prompt", ["a" * 200_000, "apfel " * 40_000, "kx" * 100_000])
def test_a_very_long_prompt_is_read_in_a_moment(reader: PromptReader, prompt: str) -> None:
    began = time.process_time()
    text = reader.read(prompt).text
    assert time.process_time() - began < 5  # it took minutes when all of it was read
    assert text.endswith(prompt[-1000:])
