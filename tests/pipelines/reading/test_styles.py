"""Styles: templates around prompts, those that ship and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanakit.common.errors import RequestError
from sanakit.pipelines.reading.styles import load_styles, style_named


def test_those_that_ship_hold_the_prompt_once() -> None:
    styles = load_styles()
    assert len(styles) >= 10
    for style in styles.values():
        prompt, negative = style.applied("a {cat}", "dogs")
        assert prompt.count("a {cat}") == 1
        assert prompt != "a {cat}"
        assert negative == "dogs"


def test_a_file_of_ones_own_adds_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text('neon: "{prompt}!"\nmine: {prompt: "my {prompt}", negative: grey}\n', encoding="utf-16")
    assert style_named("neon", file).applied("a cat") == ("a cat!", "")
    assert style_named("mine", file).applied("a cat", "red") == ("my a cat", "grey, red")
    assert "photo" in load_styles(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is no YAML"),
        ("- a", "holds no styles"),
        ("a: no place", "the style 'a' in"),
        ('a: {prompt: "{prompt}", colour: red}', "is not usable"),
        ("a: 3", "is not usable"),
        ('a: {prompt: "{prompt}", negative: no}', "style 'a' in .* put into quotes"),
        ("\x00", "is no YAML"),
    ],
)
def test_files_that_are_no_styles(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(RequestError, match=words):
        load_styles(file)


def test_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no style 'watercolour'; did you mean watercolor\?"):
        style_named("watercolour")
    with pytest.raises(RequestError, match="there are photo, cinematic"):
        style_named("xxxxx")
    with pytest.raises(RequestError, match="cannot be read"):
        load_styles(tmp_path)
