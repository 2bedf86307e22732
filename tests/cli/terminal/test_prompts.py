from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from sanakit.cli import generate
from sanakit.cli.app import main
from sanakit.cli.terminal.prompts import collect_prompts, texts_of
from sanakit.common.errors import RequestError


def test_arguments_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeff# a remark\r\ntwo red apples\r\n\r\n  一只猫 🐱 \n #1 fan\n".encode())
    assert collect_prompts(["a dog"], file) == ["a dog", "two red apples", "一只猫 🐱", "#1 fan"]


def test_an_empty_prompt_is_a_prompt() -> None:
    assert collect_prompts([""], None) == [""]


def test_missing_file_and_no_prompt(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        collect_prompts([], tmp_path / "no.txt")
    with pytest.raises(RequestError, match="no prompt"):
        collect_prompts([], None)
    with pytest.raises(RequestError, match="Is a directory"):
        collect_prompts([], tmp_path)


def test_a_closed_stdin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(RequestError, match="reads stdin, and that is closed"):
        texts_of(Path("-"))


def test_a_line_of_hyphen_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("a dog\n一只猫\n".encode())))
    assert collect_prompts(["a cat"], Path("-")) == ["a cat", "a dog", "一只猫"]
    with pytest.raises(RequestError, match="--prompt-file - holds no prompt"):
        collect_prompts([], Path("-"))


@pytest.mark.parametrize(
    ("words", "prompts"),
    [
        (["a cat", "-oil painting of a dog", "--steps", "1"], ["a cat", "-oil painting of a dog"]),
        (["-oil painting", "a cat"], ["-oil painting", "a cat"]),
        (["--find me a cat", "-my dog = nice"], ["--find me a cat", "-my dog = nice"]),
        (["--negative-prompt", "-blurry thing", "--output=my folder/", "-o", "-x y", "a"], ["a"]),
        (["--negative-prompt=very bad", "--", "-a", "--b c"], ["-a", "--b c"]),
    ],
)
def test_a_word_with_a_space_is_a_prompt_and_no_option(
    words: list[str], prompts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def collect(arguments: list[str], file: Any) -> list[str]:
        told.append(arguments)
        raise RequestError("enough")

    monkeypatch.setattr(generate, "collect_prompts", collect)
    assert main(["generate", *words]) == 2
    assert told == [prompts]


def test_a_prompt_that_is_taken_for_an_option_is_told_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "-cat"]) == 2
    assert "No such option: -c (before prompts that begin with a dash write --)" in capsys.readouterr().err
    assert main(["generate", "a cat", "--size"]) == 2
    assert "write --" not in capsys.readouterr().err


def test_the_version_is_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sanakit 0.")
