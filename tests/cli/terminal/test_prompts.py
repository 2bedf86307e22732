from __future__ import annotations

from pathlib import Path

import pytest

from sanakit.cli.terminal.prompts import collect_prompts
from sanakit.common.errors import RequestError


def test_arguments_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeff# a remark\r\ntwo red apples\r\n\r\n  一只猫 🐱 \n #1 fan\n".encode())
    assert collect_prompts(["a dog"], file) == ["a dog", "two red apples", "一只猫 🐱", "#1 fan"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_files_of_every_system(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(end.join(["two red apples", "# a remark", "一只猫\u2028🐱", ""]).encode(encoding))
    assert collect_prompts([], file) == ["two red apples", "一只猫\u2028🐱"]
    file.write_bytes("two red apples".encode("utf-16-le"))
    with pytest.raises(RequestError, match="UTF-16 without its mark"):
        collect_prompts([], file)


def test_an_empty_prompt_is_a_prompt() -> None:
    assert collect_prompts([""], None) == [""]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "holds no prompt"), (b"# only\n\n", "holds no prompt"), (b"\xff\xfe\x00", "not UTF-8")],
)
def test_unusable_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        collect_prompts(["a dog"], file)


def test_missing_file_and_no_prompt(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        collect_prompts([], tmp_path / "no.txt")
    with pytest.raises(RequestError, match="no prompt"):
        collect_prompts([], None)
    with pytest.raises(RequestError, match="Is a directory"):
        collect_prompts([], tmp_path)


def test_a_file_without_end_is_refused_and_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanakit.cli.terminal.prompts.MAX_FILE_BYTES", 1000)
    with pytest.raises(RequestError, match="more than 1000 bytes"):
        collect_prompts([], Path("/dev/zero"))
