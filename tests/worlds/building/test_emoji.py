"""Emoji: the list of their names, masks for tinting, looks, and names in other languages."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sanakit.worlds.banks.things import GROUPS
from sanakit.worlds.building.cutting import VIEW_SIZE, cut
from sanakit.worlds.building.emoji.clips import NUM_FRAMES, read_clips, read_stills
from sanakit.worlds.building.emoji.drawings import given_drawings
from sanakit.worlds.building.emoji.looks import Views, pictured_look
from sanakit.worlds.building.emoji.names import LANGUAGES, Names, given_names
from sanakit.worlds.building.emoji.words import Entry, bare, code_points, emoji_entries, left_out
from sanakit.worlds.building.packages import FLUENT_3D
from sanakit.worlds.building.tinting import mask_but, tint_of

from .npm_packages import packed, webp


def disc(colour: str, size: int = 200) -> Image.Image:
    """A disc with a white spot, in the middle of a transparent square."""
    image = Image.new("RGBA", (size, size))
    pen = ImageDraw.Draw(image)
    pen.ellipse((20, 20, size - 20, size - 20), fill=colour)
    pen.ellipse((60, 60, 80, 80), fill="#ffffff")
    return image


def test_no_word_means_two_things_and_no_emoji_is_listed_twice() -> None:
    entries = emoji_entries()
    words = Counter(word for entry in entries for word in (entry.name, *(one for one, _ in entry.synonyms)))
    emoji = Counter(one for entry in entries for one in entry.emoji)
    assert [word for word, number in (words + emoji).items() if number > 1] == []
    assert {entry.group for entry in entries} == set(GROUPS)
    assert len(entries) > 650


def test_a_line_of_the_list_says_it_all() -> None:
    entry = next(entry for entry in emoji_entries() if entry.name == "butterfly")
    assert (entry.plural, entry.group, entry.floats, entry.emoji) == ("butterflies", "animal", True, ("🦋",))
    car = next(entry for entry in emoji_entries() if entry.name == "car")
    assert (car.plural, car.floats, car.synonyms) == ("cars", False, (("automobile", "automobiles"),))


def test_what_is_left_out_has_a_reason() -> None:
    assert "weapons" in left_out()["dagger"]
    assert all(left_out().values())


def test_the_first_fifty_keep_their_drawings() -> None:
    assert len(given_drawings()) == 50
    assert given_drawings().keys() <= {entry.name for entry in emoji_entries()}


def test_code_points_leave_variation_signs_out() -> None:
    assert code_points("🐻‍❄️") == "1f43b-200d-2744"
    assert bare("☀️") == "☀"


@pytest.mark.parametrize(
    ("colour", "word"),
    [("#de282c", "red"), ("#f98820", "orange"), ("#fcd53f", "yellow"), ("#26a642", "green"), ("#2070e4", "blue"),
     ("#8d65c5", "purple"), ("#ff8fc8", "pink"), ("#7d4533", "brown"), ("#8a8a8a", "gray")],
)  # fmt: skip
def test_the_main_colour_has_a_word_and_a_mask_that_leaves_whites(colour: str, word: str) -> None:
    tint = tint_of(disc(colour))
    assert tint.natural == word
    assert tint.mask is not None
    assert tint.mask[100, 100] == pytest.approx(1.0)
    assert tint.mask[70, 70] == tint.mask[0, 0] == 0.0


def test_a_picture_of_many_colours_is_not_tinted() -> None:
    image = Image.new("RGBA", (90, 30))
    for number, colour in enumerate(("#de282c", "#26a642", "#2070e4")):
        image.paste(colour, (30 * number, 0, 30 * number + 30, 30))
    assert tint_of(image) == tint_of(image)
    assert (tint_of(image).mask, tint_of(image).natural) == (None, None)


def test_kept_colours_stay() -> None:
    mask = mask_but(disc("#de282c"), ["#ffffff"])
    assert (mask[100, 100], mask[70, 70]) == (1.0, 0.0)


def test_views_are_cut_to_what_is_visible() -> None:
    small = cut(disc("#de282c", 400))
    assert small is not None
    assert small.size == (VIEW_SIZE, VIEW_SIZE)
    assert cut(Image.new("RGBA", (20, 20))) is None


def test_stills_and_clips_become_one_look(tmp_path: Path) -> None:
    frames = [disc(f"#{220 - 8 * n:02x}2020") for n in range(12)]
    tarball = packed(
        tmp_path / "package.tgz",
        {"assets/1f436.webp": webp(frames[0]), "assets/1f431.webp": webp(*frames), "assets/1f984.webp": b""},
    )
    stills = dict(read_stills(tarball, {"1f436", "1f431"}))
    clips = dict(read_clips(tarball, {"1f436", "1f431"}))
    assert stills.keys() == {"1f436", "1f431"}
    assert {code: len(some) for code, some in clips.items()} == {"1f431": NUM_FRAMES}
    views = Views()
    look = pictured_look("3d-1f431", "3d", [stills["1f431"], *clips["1f431"]], FLUENT_3D, views)
    assert look is not None
    assert (look.tintable, look.natural, [view.frame for view in look.views]) == (True, "red", [0, 1, 2, 3, 4])
    assert len(views.members) == 2 * (1 + NUM_FRAMES)
    assert np.asarray(Image.open(io.BytesIO(views.members["3d-1f431/00.webp"]))).shape == (160, 160, 4)


def annotations(words: dict[str, tuple[str, list[str]]]) -> bytes:
    notes = {emoji: {"tts": [label], "default": keywords} for emoji, (label, keywords) in words.items()}
    return json.dumps({"annotations": {"annotations": notes}}).encode()


def test_names_are_nouns_where_the_annotations_describe(tmp_path: Path) -> None:
    english = {
        "🐱": ("toy cat face", []),
        "🐈": ("toy cat", []),
        "🍎": ("red apple", ["fruit"]),
        "🩺": ("stethoscope", []),
        "🏏": ("cricket game", []),
        "🎱": ("pool 8 ball", []),
    }
    german = {
        "🐱": ("Katzengesicht", ["Katze", "Gesicht"]),
        "🐈": ("Katze", ["Tier"]),
        "🍎": ("roter Apfel", ["Apfel", "Frucht", "rot"]),
        "🩺": ("Arzt/Stethoskop (neu)", []),
        "🏏": ("Kricket mit Ball", ["Ball"]),
        "🎱": ("schwarzer Ball", ["Ball"]),
    }
    files = {f"annotations/{language}/annotations.json": annotations({}) for language in LANGUAGES}
    files["annotations/en/annotations.json"] = annotations(english)
    files["annotations/de/annotations.json"] = annotations(german)

    def entry(name: str, *emoji: str) -> Entry:
        return Entry(name=name, plural=f"{name}s", group="thing", emoji=emoji, synonyms=(), floats=False)

    hindi = {"🍎": ("लाल सेब, फल, लाल", ["फल", "सेब", "लाल"]), "🩺": ("रॉकेट, वाहन", ["वाहन"])}
    files["annotations/hi/annotations.json"] = annotations(hindi)
    entries = [entry("toy cat", "🐱", "🐈"), entry("toy apple", "🍎"), entry("stethoscope", "🩺")]
    entries += [entry("toy bat", "🏏"), entry("toy eight", "🎱")]
    names = Names(packed(tmp_path / "package.tgz", files), entries)
    assert names.of(entries[0]) == ({"de": "Katze"}, {})
    assert names.of(entries[1]) == ({"de": "Apfel", "hi": "सेब"}, {}), "the colour is no part of the name"
    assert names.of(entries[2]) == ({"de": "Arzt", "hi": "रॉकेट"}, {"de": ("Stethoskop",)})
    assert names.of(entries[4])[0] == {"de": "schwarzer Ball"}, "a keyword of several things names none"
    assert names.keywords(entries[1]) == ("fruit",)


@pytest.mark.parametrize("name", ["apple", "book", "lantern", "crow", "salad"])
def test_what_the_annotations_only_know_in_a_colour_has_its_noun_in_every_language(name: str) -> None:
    assert {language for thing, language in given_names() if thing == name} == set(LANGUAGES)
