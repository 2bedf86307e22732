"""The published files as they are, and broken ones in one sentence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from sanakit.common.errors import RequestError
from sanakit.evaluation.benchmarks.entries import read_prompt_list, read_propositions
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.scenes.vocabulary import COLOURS

COLUMNS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple"
DPG = f"""{COLUMNS},question_natural_language
b2,"A cat, asleep",,1,0,entity,whole,entity - whole (cat),Is there a cat?
b2,"A cat, asleep",,2,1,attribute,state,attribute - state,Is the cat asleep?
a1,A red car,,1,0,entity,whole,entity - whole (car),Is there a car?
"""


def test_geneval(tmp_path: Path) -> None:
    records = [
        {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
        {"tag": "counting", "include": [{"class": "cup", "count": 2}], "exclude": [{"class": "cup", "count": 3}],
         "prompt": "a photo of two cups"},
    ]  # fmt: skip
    path = tmp_path / "evaluation_metadata.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found = read_prompt_list("geneval", str(path))
    assert [entry.prompt for entry in found.entries] == ["a photo of a bench", "a photo of two cups"]
    assert [dict(entry.metadata) for entry in found.entries] == records
    assert str(found.picture_path(found.entries[1], 3)) == "00001/samples/0003.png"


def test_dpg_folder_and_table_name_the_same_pictures(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a1.txt").write_text("A red car\n")
    (tmp_path / "prompts" / "b2.txt").write_text("A cat, asleep")
    (tmp_path / "dpg_bench.csv").write_text(DPG)
    folder, table = (read_prompt_list("dpg", str(tmp_path / name)) for name in ("prompts", "dpg_bench.csv"))
    assert folder.entries == table.entries
    assert [str(table.picture_path(entry, 0)) for entry in table.entries] == ["a1.png", "b2.png"]
    questions = read_propositions(tmp_path / "dpg_bench.csv")
    assert [row["question_natural_language"] for row in questions["b2"]] == ["Is there a cat?", "Is the cat asleep?"]


def test_mjhq(tmp_path: Path) -> None:
    path = tmp_path / "meta_data.json"
    records = {"0a": {"category": "food", "prompt": "a cake"}, "1b": {"category": "art", "prompt": "x"}}
    path.write_text(json.dumps(records))
    found = read_prompt_list("mjhq", str(path))
    assert [str(found.picture_path(entry, 0)) for entry in found.entries] == ["food/0a.png", "art/1b.png"]


@pytest.mark.parametrize(
    ("suite", "content"),
    [
        ("geneval", "not json"),
        ("geneval", '{"prompt": "a cat"}\n'),
        ("geneval", ""),
        ("mjhq", "[1, 2]"),
        ("mjhq", '{"a": {"prompt": "x", "category": "../../etc"}}'),
        ("dpg", "item_id,text\na,b\n"),
    ],
)
def test_other_files_are_refused_in_a_sentence(suite: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(RequestError, match=r"file"):
        read_prompt_list(suite, str(path))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="does not exist; give"):
        read_prompt_list(suite, str(tmp_path / "nowhere"))  # type: ignore[arg-type]


def test_starter_list_speaks_its_words_and_covers_the_tasks() -> None:
    found = read_prompt_list("geneval", "starter", seed=1)
    assert found == read_prompt_list("geneval", "starter", seed=1) != read_prompt_list("geneval", "starter", seed=2)
    tags = Counter(entry.category for entry in found.entries)
    assert set(tags) == {"single_object", "two_object", "counting", "colors", "position", "color_attr"}
    assert len(set(tags.values())) == 1
    things = load_bank("tiny").things
    for entry in found.entries:
        for wanted in entry.metadata["include"]:
            assert wanted["class"] in things
            assert wanted.get("color", "red") in COLOURS
            words = things[wanted["class"]]
            assert (words.plural if wanted["count"] > 1 else words.name) in entry.prompt


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_as_other_programs_save_them(tmp_path: Path, encoding: str) -> None:
    record = {"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "a cat\u2028here"}
    lines = "\r".join(json.dumps({**record, "number": n}, ensure_ascii=False) for n in range(2))
    (tmp_path / "g.jsonl").write_bytes(lines.encode(encoding))
    assert len(read_prompt_list("geneval", str(tmp_path / "g.jsonl")).entries) == 2
    content = json.dumps({"x": {"prompt": "a cat", "category": "animals"}})
    (tmp_path / "m.json").write_bytes(content.encode(encoding))
    assert len(read_prompt_list("mjhq", str(tmp_path / "m.json")).entries) == 1
