"""Sheets of pictures, to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.evaluation.reports import picture_grid as grid
from sanakit.evaluation.reports.picture_grid import _drawable, _wrapped, picture_grid

GRAY = (216, 216, 216)


def test_places_of_pictures_and_labels() -> None:
    pictures = [np.full((20, 30, 3), level, np.uint8) for level in (10, 20, 30, 40)]
    sheet = picture_grid(pictures, ["", "", "", ""], columns=3, label_height=12)
    assert sheet.size == (3 * 38 + 8, 2 * 40 + 8)
    expected = Image.new("RGB", sheet.size, GRAY)
    for left, top, level in ((8, 8, 10), (46, 8, 20), (84, 8, 30), (8, 48, 40)):
        expected.paste((level,) * 3, (left, top, left + 30, top + 20))
    assert np.array_equal(np.asarray(sheet), np.asarray(expected))
    labelled = np.asarray(picture_grid(pictures[:1], ["kite"], columns=1))
    assert labelled.shape == (66, 46, 3)
    below = (labelled != GRAY).any(axis=-1)
    below[8:28, 8:38] = False
    assert below[30:58].any()
    assert not below[:30].any()
    assert picture_grid(pictures, ["a"] * 4).size == (6 * 38 + 8, 58 + 8)
    with pytest.raises(ValueError, match="zip"):
        picture_grid(pictures, ["a"])


def test_labels_are_two_lines_at_most() -> None:
    assert _wrapped("", 5) == ""
    assert _wrapped("one two three four", 8) == "one two\nthree"
    assert _wrapped("one two", 7) == "one two"
    assert _wrapped("one two", 6) == "one\ntwo"
    assert _wrapped("extraordinary kites", 5) == "extraordinary\nkites"


@pytest.mark.parametrize(
    ("label", "english", "drawn"),
    [
        ("a red kite", "x", "a red kite"),
        ("café", "", "cafe"),
        ("苹果", "apple", "apple"),
        ("苹果", "", "[82F9][679C]"),
        ("two 🍎", "", "two [red apple]"),
        ("❤️", "", "[heavy black heart]"),
    ],
)
def test_what_no_font_draws_is_said_in_english_or_by_name(
    monkeypatch: pytest.MonkeyPatch, label: str, english: str, drawn: str
) -> None:
    """Never boxes."""
    monkeypatch.setattr(grid, "_SYSTEM_FONTS", ("no such font.ttf",))
    text, own = _drawable(label, english)
    assert text == drawn
    assert all(grid._has(own, sign) for sign in text)


def test_a_font_of_the_system_that_has_all_signs_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(pytest.importorskip("matplotlib").get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    monkeypatch.setattr(grid, "_SYSTEM_FONTS", ("no such font.ttf", str(place)))
    text, font = _drawable("Жаба é", "toad")
    assert (text, font.getname()[0]) == ("Жаба é", "DejaVu Sans")  # type: ignore[union-attr]
    assert _drawable("Жаба 苹", "toad")[0] == "toad"
    black = np.zeros((20, 60, 3), np.uint8)
    signs, words = (np.asarray(picture_grid([black], [label], in_english=["toad"])) for label in ("苹", "toad"))
    assert np.array_equal(signs, words)
