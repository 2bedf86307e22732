from __future__ import annotations

import io
from pathlib import Path

import pytest

from sanakit.common.errors import RequestError
from sanakit.data.prompts import Prompt, read_prompts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_files_of_every_system(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "prompts.txt"
    lines = ["# a remark", "", "two red apples", "  一只猫\u2028🐱 ", " ", " #1 fan", '{"prompt": "x"}', ""]
    file.write_bytes(end.join(lines).encode(encoding))
    texts = ["two red apples", "一只猫\u2028🐱", "#1 fan", '{"prompt": "x"}']
    assert read_prompts(file) == read_prompts(io.BytesIO(file.read_bytes())) == [Prompt(text, {}) for text in texts]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.JSONL"])
def test_lines_of_json_say_more(tmp_path: Path, name: str) -> None:
    record = '{"prompt": "#1 cup", "tag": "single", "include": [{"class": "cup"}]}'
    (tmp_path / name).write_text(f'# of GenEval\n{record}\n\n{{"prompt": "a dog"}}', encoding="utf-16")
    told = {"tag": "single", "include": [{"class": "cup"}]}
    assert read_prompts(str(tmp_path / name)) == [Prompt("#1 cup", told), Prompt("a dog", {})]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "holds no prompt"), ("a.txt", b"# only\n \n", "holds no prompt"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read: it is not UTF-8"), ("a.txt", b"\xff", "cannot be read: it is"),
        ("a.txt", "two red apples".encode("utf-16-le"), "UTF-16 without its mark"),
        ("a.jsonl", b"{", "a.jsonl:1 is no valid JSON"), ("a.json", b'#\n[["a"]]', "a.json:2 is no object with"),
        ("a.jsonl", b'\n{"text": "x"}', "a.jsonl:2 is no object with a prompt"),
        ("a.jsonl", b'{"prompt": " "}', "no object with a prompt"),
        ("a.jsonl", b'{"prompt": "a", "tag": ["\\ud800"]}', "a.jsonl:1 holds half of a surrogate pair"),
        ("a.jsonl", b"[" * 9999, "nested too deeply"),
    ],
)  # fmt: skip
def test_files_that_are_none(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=words):
        read_prompts(tmp_path / name)


def test_what_cannot_be_read_is_called_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^data:prompts cannot be read: No such file"):
        read_prompts(tmp_path / "none.txt", "data:prompts")
    with pytest.raises(RequestError, match="cannot be read: Is a directory"):
        read_prompts(tmp_path)


def test_a_file_without_end_is_refused_and_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanakit.data.prompts.MAX_BYTES", 1000)
    with pytest.raises(RequestError, match="more than 1000 bytes"):
        read_prompts("/dev/zero")
