"""Codings of texts by their marks, how long a file may be, and JSON that is no captions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sanakit.data.open import open_data
from sanakit.data.sources.files import decode_loosely, decode_text, read_text


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_codings_with_a_mark(coding: str) -> None:
    assert decode_text("ä kite\n".encode(coding)) == decode_loosely("ä kite\n".encode(coding)) == "ä kite\n"
    if coding != "utf-8":
        with pytest.raises(ValueError, match="UTF-8"):
            decode_text("ä".encode(coding)[:-1])


def test_which_byte_is_none() -> None:
    with pytest.raises(ValueError, match=r"^it is not UTF-8 \(byte 0xe9 at 3\); save it as UTF-8$"):
        decode_text(b"caf\xe9")
    assert decode_loosely(b"\xef\xbb\xbfcaf\xe9") == "caf\udce9"


def test_a_file_may_have_as_many_bytes_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_text(tmp_path / "a") == read_text(tmp_path / "a", most=5) == "12345"
    with pytest.raises(ValueError, match="it has more than 4 bytes"):
        read_text(tmp_path / "a", most=4)
    with pytest.raises(ValueError, match="it cannot be read: No such file"):
        read_text(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (3, "bad_record", "it is neither a text nor a JSON object with a caption"),
        ({"caption": "x", "conversations": [{"from": "gpt", "value": "a"}, {"from": "gpt", "value": "b"}]},
         "bad_record", "its conversations have 2 answers, and a caption is one"),
    ],
)  # fmt: skip
def test_json_beside_a_picture_that_is_no_caption(
    tmp_path: Path, picture: Callable[..., bytes], content: object, reason: str, words: str
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(picture())
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "b.txt").write_text("a kite")
    found = {problem.key: problem for problem in open_data(tmp_path).problems}
    assert any(words in problem.detail for problem in found.values()), found
