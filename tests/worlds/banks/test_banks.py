"""Banks: written and read back, whole or not at all, and their pictures."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.worlds.banks import bank as bank_module
from sanakit.worlds.banks.bank_files import Contents, load_bank, write_bank
from sanakit.worlds.banks.things import Look, Person, Place, Thing, View, merge_things


def webp(mode: str, size: tuple[int, int], colour: int | tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "WEBP", lossless=True)
    return file.getvalue()


def look(id: str, views: int = 2) -> Look:
    return Look(
        id=id,
        style="rendered",
        views=tuple(View(30.0 * n, 20.0, 0, (8, 6), f"{id}/{n:02d}.webp") for n in range(views)),
        tintable=True,
        natural="red",
        licence="CC0",
        author="A. Maker",
        source="a package",
    )


CONTENTS = Contents(
    name="toy",
    things=(
        Thing(name="chair", plural="chairs", group="furniture", looks=(look("chair-1"),), names={"de": "Stuhl"}),
        Thing(
            name="dog",
            plural="dogs",
            group="animal",
            looks=(look("dog-1", 1),),
            synonyms=(("hound", "hounds"),),
            more_names={"de": ("Köter",)},
            size_cm=(30.0, 80.0, 50.0),
        ),
    ),
    places=(
        Place(
            name="park", wordings=("in a park",), member="places/park.webp", indoors=False, licence="CC0", author="P"
        ),
    ),
    people=(Person(look=look("anna", 1), parts={"kind": "person", "hair": "red"}),),
    packages={"pack": {"version": "1", "sha256": "0"}},
    attribution="# Attribution\n",
)
MEMBERS = {
    **{name: webp("RGBA", (8, 6), (200, 10, 20, 255)) for name in ("chair-1/00.webp", "chair-1/01.webp")},
    **{name: webp("RGBA", (8, 6), (10, 10, 20, 128)) for name in ("dog-1/00.webp", "anna/00.webp")},
    "chair-1/00.tint.webp": webp("L", (8, 6), 255),
    "places/park.webp": webp("RGB", (16, 8), (1, 2, 3)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bank(tmp_path / "bank", CONTENTS, MEMBERS)
    return tmp_path / "bank"


def test_what_is_written_is_read_back(folder: Path) -> None:
    bank = load_bank(folder)
    assert bank.name == "toy"
    assert tuple(bank.things.values()) == CONTENTS.things
    assert tuple(bank.places.values()) == CONTENTS.places
    assert bank.people == CONTENTS.people
    first, second = bank.things["chair"].looks[0].views
    assert bank.image(first).mode == "RGBA"
    assert np.asarray(bank.image(first))[0, 0].tolist() == [200, 10, 20, 255]
    assert np.asarray(bank.tint_mask(first)).min() == 255
    assert bank.tint_mask(second) is None
    assert bank.depth(first) is None
    assert bank.panorama(bank.places["park"]).size == (16, 8)


def test_the_same_contents_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_bank(tmp_path / "again", CONTENTS, dict(reversed(MEMBERS.items())))
    assert load_bank(folder).hash == load_bank(tmp_path / "again").hash


def test_a_subset_has_a_hash_of_its_own(folder: Path) -> None:
    bank = load_bank(folder)
    dogs = bank.subset(["dog"])
    assert list(dogs.things) == ["dog"]
    assert dogs.hash != bank.hash
    assert dogs.hash == load_bank(folder).subset(["dog"]).hash
    with pytest.raises(RequestError, match="'unicorn'"):
        bank.subset(["unicorn"])


def test_a_forked_process_reads_on(folder: Path) -> None:
    bank = load_bank(folder)
    view = bank.things["dog"].looks[0].views[0]
    if (child := os.fork()) == 0:
        os._exit(0 if bank.image(view).size == (8, 6) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert bank.image(view).size == (8, 6)


def test_a_bank_without_its_pictures_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="anna/00"):
        write_bank(tmp_path / "bank", CONTENTS, {k: v for k, v in MEMBERS.items() if k != "anna/00.webp"})
    assert not list(tmp_path.iterdir())


def test_a_bank_replaces_a_bank_or_an_empty_folder_only(folder: Path, tmp_path: Path) -> None:
    (folder / ".stamp.json.x1.part").mkdir()  # of a process that was killed
    write_bank(folder, replace(CONTENTS, name="other"), MEMBERS)
    assert load_bank(folder).name == "other"
    (tmp_path / "empty").mkdir()
    write_bank(tmp_path / "empty", CONTENTS, MEMBERS)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(RequestError, match=r"thesis\.txt, which is no part of a bank"):
        write_bank(folder, CONTENTS, MEMBERS)
    assert (folder / "thesis.txt").read_text() == "years of work"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "ATTRIBUTION.md").write_text("of something else")
    with pytest.raises(RequestError, match=r"holds ATTRIBUTION\.md"):
        write_bank(tmp_path / "notes", CONTENTS, MEMBERS)
    with pytest.raises(RequestError, match="is a file"):
        write_bank(folder / "thesis.txt", CONTENTS, MEMBERS)


def test_what_is_not_a_bank_is_told_in_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RequestError, match="sanakit data worlds build"):
        load_bank("full")
    with pytest.raises(RequestError, match="holds no bank"):
        load_bank(tmp_path / "nothing")
    (folder / "bank.json").write_text('{"version": 99, "things": [], "places": [], "people": []}')
    with pytest.raises(RequestError, match="version 99"):
        load_bank(folder)


def broken(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """The sentence about a bank whose ``bank.json`` was changed."""
    plain = json.loads((folder / "bank.json").read_bytes())
    change(plain)
    (folder / "bank.json").write_text(json.dumps(plain))
    with pytest.raises(RequestError) as caught:
        load_bank(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda plain: plain.pop("name"), "name is missing"),
        (lambda plain: plain.pop("packages"), "packages is missing"),
        (lambda plain: plain.update(packages={"pack": 1}), "packages is missing or of another type"),
        (lambda plain: plain.update(places=None), "places is not a list"),
        (lambda plain: plain["things"][0].pop("keywords"), r"things[0] has no 'keywords'"),
        (lambda plain: plain["things"][0].update(extra=1), "things[0]: "),
        (lambda plain: plain["things"][0].update(more_names=[1]), "things[0]: [1] is not a mapping"),
        (lambda plain: plain["things"][0].update(more_names=[]), "things[0]: [] is not a mapping"),
        (lambda plain: plain["things"][0].update(keywords="chair"), "'chair' is not a list"),
        (lambda plain: plain["things"][0].update(name=5), "things[0].name=5 must be of type str"),
        (lambda plain: plain["things"][0].update(name=""), "things[0] has no name"),
        (lambda plain: plain["things"][0].update(names="x"), "things[0].names='x' must be"),
        (lambda plain: plain["things"][0].update(group="dragon"), "things[0].group='dragon' must be one of animal,"),
        (lambda plain: plain["things"][1].update(size_cm=[1, 0, 1]), "things[1].size_cm="),
        (lambda plain: plain["things"][0].update(looks=[]), "things[0] (chair) has no looks"),
        (lambda plain: plain["things"][0]["looks"][0].update(views=[]), "things[0].looks[0] (chair-1) has no views"),
        (lambda plain: plain["things"][0]["looks"][0]["views"][0].__setitem__(0, "a"), "views[0].yaw='a' must be"),
        (lambda plain: plain["things"][0]["looks"][0]["views"][0].__setitem__(3, 0), "size=(0, 6) is not of 1 to"),
        (lambda plain: plain["things"][0]["looks"][0]["views"][0].__setitem__(5, "../x"), "1 pictures of the bank are"),
        (lambda plain: plain["things"].append(plain["things"][0]), "two things are called 'chair'"),
        (lambda plain: plain["places"].append(plain["places"][0]), "two places are called 'park'"),
        (lambda plain: plain["places"][0].update(wordings=[]), "places[0] has no name or no wordings"),
        (lambda plain: plain["people"][0].update(parts={}), "people[0] has no part 'kind'"),
    ],
)
def test_what_is_wrong_in_a_bank_is_told_with_its_place(
    folder: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    sentence = broken(folder, change)
    assert told in sentence
    assert sentence.endswith("; build it again")


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "null", '"x"', "{}", "\xff"])
def test_what_is_no_bank_at_all_is_one_sentence(folder: Path, content: str) -> None:
    (folder / "bank.json").write_text(content, encoding="latin-1")
    with pytest.raises(RequestError, match="is not a bank"):
        load_bank(folder)


def test_of_a_newer_bank_the_version_is_told_and_nothing_else(folder: Path) -> None:
    told = broken(folder, lambda plain: plain.update(version=2, places=[{"new": 1}]))
    assert "holds a bank of version 2, not 1; update sanakit" in told


def test_a_bank_is_checked_when_it_is_written_too(tmp_path: Path) -> None:
    wrong = replace(CONTENTS, places=(replace(CONTENTS.places[0], wordings=()),))
    with pytest.raises(RequestError, match=r"places\[0\] has no name or no wordings"):
        write_bank(tmp_path / "bank", wrong, MEMBERS)


@pytest.mark.parametrize(
    ("picture", "told"),
    [((8, 7), r"it has 8 x 7 pixels, not 8 x 6"), ((20_000, 20_000), "bomb"), (None, "is no WebP picture")],
)
def test_a_picture_is_measured_before_it_is_unpacked(folder: Path, picture: tuple[int, int] | None, told: str) -> None:
    shown = b"GIF89a" if picture is None else png_of(picture)
    with zipfile.ZipFile(folder / "views.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in MEMBERS:
            archive.writestr(name, shown)
    bank = load_bank(folder)
    with pytest.raises(RequestError, match=told):
        bank.image(bank.things["dog"].looks[0].views[0])


def png_of(size: tuple[int, int]) -> bytes:
    """A PNG that says it has this size; more of it is not needed."""
    header = b"IHDR" + struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    parts = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_picture_of_gigabytes_is_not_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_module, "_MAX_BYTES", 10)
    bank = load_bank(folder)
    with pytest.raises(RequestError, match="it has more than"):
        bank.panorama(bank.places["park"])


def test_things_of_one_name_become_one() -> None:
    chair, dog = CONTENTS.things
    drawn = Thing(
        name="dog", plural="dogs", group="animal", looks=(look("dog-flat"),), emoji="🐕", names={"de": "Hund"}
    )
    merged = merge_things([dog, chair, drawn])
    assert [thing.name for thing in merged] == ["chair", "dog"]
    assert [one.id for one in merged[1].looks] == ["dog-1", "dog-flat"]
    assert merged[1].emoji == "🐕"
    assert merged[1].size_cm == (30.0, 80.0, 50.0)
    assert merged[1].names == {"de": "Hund"}
    assert merged[1].more_names == {"de": ("Köter",)}


def test_a_synonym_means_one_thing() -> None:
    chair, dog = CONTENTS.things
    merged = merge_things([replace(chair, synonyms=(("dog", "dogs"), ("hound", "hounds"), ("seat", "seats"))), dog])
    assert [thing.synonyms for thing in merged] == [(("seat", "seats"),), ()]


def test_the_bank_that_ships() -> None:
    bank = load_bank("tiny")
    drawn = [thing for thing in bank.things.values() if any(look.style == "flat" for look in thing.looks)]
    assert len(drawn) == 50
    assert all(look.tintable for thing in drawn for look in thing.looks if look.style == "flat")
    round_about = [look for thing in bank.things.values() for look in thing.looks if look.style == "rendered"]
    assert len(round_about) == 10
    assert all({view.yaw for view in look.views} > {0.0, 60.0, 120.0, 180.0} for look in round_about)
    assert (len(bank.places), len(bank.people)) == (4, 12)
    assert bank.things["cat"].names["zh"] == "猫"
    for look in [look for thing in bank.things.values() for look in thing.looks] + [one.look for one in bank.people]:
        assert bank.image(look.views[0]).size == look.views[0].size
        assert (bank.tint_mask(look.views[0]) is not None) == look.tintable
    page = (bank.folder / "ATTRIBUTION.md").read_text()
    assert all(author in page for author in ("Microsoft", "Scopia", "Poly Haven", "Unicode", "Pablo Stanley"))
    assert sum(path.stat().st_size for path in bank.folder.iterdir()) < 2_000_000


def test_a_bank_goes_to_another_process_by_its_path(folder: Path) -> None:
    bank = load_bank(folder)
    again = pickle.loads(pickle.dumps(bank))
    view = bank.things["dog"].looks[0].views[0]
    assert again.things == bank.things
    assert again.image(view).tobytes() == bank.image(view).tobytes()
    assert (view.member in again, "nothing" in again) == (True, False)


def test_only_the_last_used_pictures_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_module, "_KEPT_IMAGES", 2)
    bank = load_bank(folder)
    first, second = bank.things["chair"].looks[0].views
    third = bank.things["dog"].looks[0].views[0]
    one, two = bank.image(first), bank.image(second)
    assert bank.image(first) is one  # and is used last now
    bank.image(third)
    assert bank.image(first) is one
    assert bank.image(second) is not two


def test_words_and_looks_are_found_by_name(folder: Path) -> None:
    bank = load_bank(folder)
    assert bank.called["hounds"] == bank.called["dogs"] == bank.called["dog"] == {"dog"}
    assert bank.subset(["chair"]).called["hound"] == {"dog"}  # no other thing may be called so there either
    assert bank.subset(["dog"]).subset(["dog"]).called["chairs"] == {"chair"}
    assert bank.look("dog", "dog-1") is bank.things["dog"].looks[0]
    assert (bank.look("dog", "chair-1"), bank.look("cow", "dog-1"), bank.person("dog-1")) == (None, None, None)
    assert bank.person("anna") is bank.people[0]
    with pytest.raises(RequestError, match=r"has no 'a', 'b', 'c', 'd', 'e'$"):
        bank.subset(["dog", *"fedcba"])
    assert bank.subset(["dog", "chair"]).hash != bank.subset(["dog"]).hash


def test_the_full_bank_is_the_users_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    write_bank(tmp_path / "cache" / "worlds" / "full", CONTENTS, MEMBERS)
    assert load_bank().hash == load_bank("full").hash == load_bank(folder).hash
    (folder / "views.zip").write_bytes(b"no zip")
    with pytest.raises(RequestError, match=r"views\.zip cannot be read .*build the bank again"):
        load_bank(folder)


def test_names_of_two_things_are_put_together() -> None:
    chair, _ = CONTENTS.things
    other = replace(
        chair, names={"de": "Sessel", "fr": "chaise"}, more_names={"de": ("Stuhl", "Hocker")}, keywords=("sit",),
        emoji="🪑", more_emoji=("🛋",), floats=True, size_cm=(1.0, 2.0, 3.0), looks=(look("other"),),
    )  # fmt: skip
    (merged,) = merge_things([replace(chair, keywords=("seat", "sit")), other])
    assert merged.names == {"de": "Stuhl", "fr": "chaise"}
    assert merged.more_names == {"de": ("Sessel", "Hocker")}
    assert (merged.keywords, merged.emoji, merged.more_emoji) == (("seat", "sit"), "🪑", ("🛋",))
    assert (merged.floats, merged.size_cm) == (True, (1.0, 2.0, 3.0))
    assert View(1, 2, 0, (3, 4), "a/00.webp").companion("tint") == "a/00.tint.webp"
