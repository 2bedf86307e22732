"""The table of words of a bank, and that prompts are read with it."""

from __future__ import annotations

import json

import pytest

from sanakit.common.errors import RequestError
from sanakit.pipelines.reading.read import PromptReader
from sanakit.pipelines.reading.words import Words
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.words import table
from sanakit.worlds.words.table import languages, words_of
from sanakit.worlds.world_scenes import WorldScenes


def test_the_tiny_bank_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_NUM_CAPTIONS", 400)
    bank = load_bank("tiny")
    left_out = "guitar"
    words = words_of(bank, [name for name in bank.things if name != left_out])
    assert json.loads(json.dumps(words)) == words
    assert left_out not in [thing["name"] for thing in words["things"]]
    assert left_out in words["untrained"]
    reader = PromptReader(Words(words))
    scenes = WorldScenes(bank.subset([thing["name"] for thing in words["things"]]), "train", 0)
    captions = [scenes.truth(index)[1] for index in range(300)]
    assert [text for text in captions if reader.read(text).text != text] == []
    assert [text for text in captions if reader.read(text).unknown] == []
    for prompt in ("un gato negro", "eine schwarze Katze", "一只黑色的猫", "黒い猫", "a black 🐱"):
        assert reader.read(prompt).text == "a black cat", prompt
    assert [word.word for word in reader.read("a guitar").unknown] == [left_out]
    assert {"sizes", "places", "people", "views", "styles", "positions"} <= words.keys()
    drawn = words_of(bank, [name for name, thing in bank.things.items() if {"flat"} == {x.style for x in thing.looks}])
    assert (list(drawn["styles"]), drawn["views"]) == (["flat"], {}), "a word that nothing of the bank can show"
    with pytest.raises(RequestError, match="no 'warp drive'"):
        words_of(bank, ["warp drive"])


def test_a_model_of_clips_also_knows_what_things_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_NUM_CAPTIONS", 300)
    bank = load_bank("tiny")
    flat = bank.subset([name for name, thing in bank.things.items() if {"flat"} == {x.style for x in thing.looks}])
    words = words_of(flat, moving=True)
    reader = PromptReader(Words(words))
    for prompt in ("an apple swiftly approaching", "an apple rising", "an apple suddenly appearing"):
        assert not reader.read(prompt).unknown, prompt
    assert {"left", "right", "bouncing"} <= words["motions"].keys()
    assert "turning" not in words["motions"], "a drawing has no other side to turn to"
    assert {"slow", "quick"} == words["speeds"].keys()
    for prompt, told in {
        "ein roter Apfel bewegt sich langsam nach links": "a red apple slowly moving to the left",
        "una manzana roja moviéndose a la izquierda": "a red apple moving to the left",
        "une pomme qui s'approche": "an apple coming closer",
        "красное яблоко движется влево": "a red apple moving to the left",
        "一个红苹果慢慢向左移动": "a red apple slowly moving to the left",
        "赤いりんごが左に動く": "a red apple moving to the left",
        "빨간 사과가 왼쪽으로 움직인다": "a red apple moving to the left",
    }.items():
        assert (reader.read(prompt).text, reader.read(prompt).unknown) == (told, ()), prompt
    still = words_of(flat)
    assert not {"motions", "speeds"} & still.keys()
    assert "moving to the left" not in PromptReader(Words(still)).read("una manzana a la izquierda").text


def test_languages_say_the_same_things() -> None:
    needed = {"red", "blue", "two", "three", "to the left of", "behind", "background", "on the beach", "small", "and"}
    others = {code: told for code, told in languages().items() if code != "en"}
    whole = {"de", "es", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh"}
    assert whole < others.keys()
    for code, told in others.items():
        assert (needed | {"without"} if code in whole else {"red", "blue", "gray", "big"}) <= told["words"].keys(), code
        assert all(word.strip() for texts in told["words"].values() for word in texts), code
