"""The parts of a bank made of small packages: emoji with their drawings, panoramas, people, models."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import DownloadError, RequestError
from sanakit.worlds.banks.things import Look, Person, Place, Thing, View
from sanakit.worlds.building.assembly import parts, tiny, workshop
from sanakit.worlds.building.assembly.build import build_bank
from sanakit.worlds.building.assembly.workshop import Workshop
from sanakit.worlds.building.emoji import things as emoji
from sanakit.worlds.building.emoji.names import LANGUAGES
from sanakit.worlds.building.emoji.words import Entry
from sanakit.worlds.building.packages import EMOJI_WORDS, FLUENT_3D, FLUENT_CLIPS, FLUENT_FLAT, PANORAMAS, Package
from sanakit.worlds.building.people import people
from sanakit.worlds.building.places import places

from .npm_packages import packed, webp


def disc(colour: str) -> Image.Image:
    image = Image.new("RGBA", (40, 40))
    image.paste(colour, (5, 5, 35, 35))
    return image


def entry(name: str, *signs: str, group: Any = "thing", floats: bool = False) -> Entry:
    return Entry(name=name, plural=f"{name}s", group=group, emoji=signs, synonyms=(), floats=floats)


ENTRIES = (
    entry("circle"), entry("toy dog", "🐕", "🐶", floats=True), entry("toy mayor", "🧑", group="person"),
    entry("eye", "👁"), entry("toy ghost", "👻"), entry("cat", "🐱"),
)  # fmt: skip


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Packages by name: drawings, stills, clips and words of a few emoji."""
    pytest.importorskip("resvg_py")
    monkeypatch.setattr(emoji, "emoji_entries", lambda: ENTRIES)
    square = '<rect x="4" y="4" width="24" height="24" fill="{}"/>'
    bodies = {"dog": "#de282c", "face": "#2070e4", "mayor": "#26a642", "cat-face": "#8d65c5"}
    icons = {"icons": {name: {"body": square.format(colour)} for name, colour in bodies.items()}}
    codes = {"1f415": "dog", "1f436-fe0f": "face", "1f9d1": "mayor", "1f431": "cat-face"}
    annotations = {"annotations": {"annotations": {"🐕": {"tts": ["toy dog"], "default": ["pet", "toy dog"]}}}}
    words = {f"annotations/{code}/annotations.json": json.dumps(annotations).encode() for code in ("en", *LANGUAGES)}
    moving = [disc(f"#{200 - 9 * n:02x}2020") for n in range(9)]
    stills = {"1f415": disc("#de282c"), "1f441-fe0f": disc("#2070e4"), "1f9d1": disc("#26a642"), "1f984": disc("red")}
    return {
        FLUENT_FLAT.name: packed(tmp_path / "flat.tgz", {
            "icons.json": json.dumps(icons).encode(), "chars.json": json.dumps(codes).encode(),
        }),
        FLUENT_3D.name: packed(tmp_path / "3d.tgz", {f"assets/{n}.webp": webp(one) for n, one in stills.items()}),
        FLUENT_CLIPS[1].name: packed(tmp_path / "clips.tgz", {"assets/1f415.webp": webp(*moving)}),
        EMOJI_WORDS.name: packed(tmp_path / "words.tgz", {**words, "LICENSE": b"A licence of words"}),
    }  # fmt: skip


def test_every_emoji_has_its_looks_and_names(shelf: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, str]] = []
    made, members = emoji.emoji_things(lambda package: shelf.get(package.name), lambda *one: told.append(one))
    found = {thing.name: thing for thing in made}
    assert list(found) == ["circle", "toy dog", "toy mayor", "eye", "cat"]  # of the ghost there is no picture
    dog = found["toy dog"]
    assert [look.id for look in dog.looks] == ["3d-1f415", "flat-1f415", "flat-1f436"]
    assert [len(look.views) for look in dog.looks] == [5, 1, 1]  # a still and four frames of its clip
    assert [look.natural for look in dog.looks] == ["red", "red", "blue"]
    assert [(look.style, look.licence, look.author) for look in dog.looks[:2]] == [
        ("3d", "MIT", "Microsoft Corporation"), ("flat", "MIT", "Microsoft Corporation")
    ]  # fmt: skip
    assert dog.looks[1].source == "@iconify-json/fluent-emoji-flat 1.2.6"
    assert (dog.emoji, dog.more_emoji, dog.keywords, dog.floats) == ("🐕", ("🐶",), ("pet",), True)
    assert dog.names["de"] == "toy dog"
    assert not any(look.tintable or look.natural for name in ("toy mayor", "eye") for look in found[name].looks)
    assert [look.id for look in found["circle"].looks] == ["flat-circle"]  # our own drawing
    assert (found["circle"].looks[0].tintable, found["circle"].emoji, found["circle"].keywords) == (True, None, ())
    assert found["cat"].looks[0].id == "flat-cat"
    circle = np.asarray(Image.open(io.BytesIO(members["flat-circle/00.webp"])))
    assert circle.shape == (160, 160, 4)
    assert np.abs(circle[80, 80].astype(int) - (222, 40, 44, 255)).max() < 12
    assert (circle[80, 2, 3], circle[4, 4, 3]) == (255, 0)
    assert [one for one in told if one[2] == "drawings"] == [(n + 1, 6, "drawings") for n in range(6)]
    assert (1, 6, "3-D emoji") in told
    renamed = emoji.emoji_things_renamed(made, shelf[EMOJI_WORDS.name])
    assert [(thing.names, thing.keywords) for thing in renamed] == [(thing.names, thing.keywords) for thing in made]


def test_what_is_not_to_be_had_is_left_out(shelf: dict[str, Path]) -> None:
    solid, _ = emoji.emoji_things(lambda package: shelf[package.name] if package is FLUENT_3D else None)
    assert [thing.name for thing in solid] == ["toy dog", "toy mayor", "eye"]
    assert all(len(thing.looks) == 1 and not thing.names and not thing.keywords for thing in solid)
    assert emoji.emoji_things(lambda package: None) == ((), {})


def test_the_part_of_emoji_carries_its_licences(shelf: dict[str, Path], tmp_path: Path) -> None:
    shop: Any = SimpleNamespace(fetch=lambda package: shelf.get(package.name), on_progress=lambda *_: None)
    made = parts._emoji(shop)
    assert [thing.name for thing in made.things] == ["circle", "toy dog", "toy mayor", "eye", "cat"]
    assert made.notices[1:] == ("A licence of words",)
    assert "Microsoft" in made.notices[0]
    assert "flat-circle/00.webp" in made.members
    assert parts._emoji_renamed(shop, made.things[:1])[0].name == "circle"
    shelf.pop(EMOJI_WORDS.name)
    assert len(parts._emoji(shop).notices) == 1
    assert parts._emoji_renamed(shop, made.things) is made.things


def test_a_drawing_that_is_lost_is_one_sentence(tmp_path: Path) -> None:
    from sanakit.worlds.building.emoji.drawings import _json_of

    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("package/icons.json")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    with pytest.raises(DownloadError, match=r"holds no package/icons\.json; remove it"):
        _json_of(path, "icons.json")


def test_panoramas_are_read_and_named(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    light = np.full((8, 16, 3), 0.5, np.float32)
    light[:, :8] = (0.9, 0.1, 0.1)
    file = tmp_path / "a.exr"
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {"RGB": light}) as written:
        written.write(str(file))
    script = b"export default 'data:image/exr;base64," + base64.b64encode(file.read_bytes()) + b"'"
    package = packed(tmp_path / "package.tgz", {"hdri/apartment.exr.js": script, "hdri/park.exr.js": script})
    told: list[tuple[int, int, str]] = []
    found = list(places(package, lambda *one: told.append(one)))
    assert [place.name for place, _ in found] == ["empty room", "park"]
    (indoors, members), (park, _) = found
    assert (indoors.indoors, park.indoors) == (True, False)
    assert (indoors.member, indoors.licence, indoors.author) == ("places/empty-room.webp", "CC0-1.0", "Poly Haven")
    assert park.wordings[0] == "in a park"
    picture = np.asarray(Image.open(io.BytesIO(members["places/empty-room.webp"]))).astype(int)
    assert picture.shape == (8, 16, 3)
    assert picture[4, 2, 0] > picture[4, 2, 2] + 60
    assert np.ptp(picture[4, 13]) < 40
    assert told[0][:2] == (0, len(told))
    shop: Any = SimpleNamespace(fetch=lambda one: package if one is PANORAMAS else None, on_progress=lambda *_: None)
    assert [place.name for place in parts._places(shop).places] == ["empty room", "park"]
    assert set(parts._places(shop).members) == {"places/empty-room.webp", "places/park.webp"}
    shop.fetch = lambda one: None
    assert (parts._places(shop), parts._models(shop)) == (parts.Made(), parts.Made())


def test_people_are_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dicebear")
    pytest.importorskip("resvg_py")
    told: list[tuple[int, int, str]] = []
    text = parts.resources.files("sanakit").joinpath("worlds", "building", "people", "styles.json").read_text("utf-8")
    styles = [{**json.loads(text)[0], "number": 2}]
    monkeypatch.setattr(
        people.json, "loads", lambda given: styles if "wheels" in given else json.JSONDecoder().decode(given)
    )
    found, members = people.drawn_people(lambda *one: told.append(one))
    assert told == [(n + 1, 2, "people") for n in range(2)]
    assert [person.look.id for person in found] == [f"{styles[0]['style']}-{n:03d}" for n in range(2)]
    for person in found:
        assert person.parts["kind"]
        assert (person.look.licence, len(person.look.views), person.look.tintable) == ("CC0-1.0", 1, False)
        picture = Image.open(io.BytesIO(members[person.look.views[0].member]))
        assert picture.size == person.look.views[0].size
        assert max(picture.size) == 160
    made = parts._people(SimpleNamespace(on_progress=lambda *_: None))  # type: ignore[arg-type]
    assert (made.people, made.members) == (found, members)


def test_the_part_of_models_is_unpacked_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thing = Thing(name="chair", plural="chairs", group="furniture", looks=())
    seen: list[Path] = []

    def drawn(folder: Path, work: Path, on_progress: object) -> list[tuple[Thing, dict[str, bytes]]]:
        seen.extend((folder, work))
        return [(thing, {"a": b"1"}), (thing, {"b": b"2"})]

    monkeypatch.setattr(parts, "unpack_deb", lambda package, folder: folder)
    monkeypatch.setattr(parts, "model_things", drawn)
    monkeypatch.setattr(workshop, "fetch_package", lambda package, folder: folder / package.file)
    made = parts._models(shop := Workshop(folder=tmp_path))
    assert (made.things, made.members) == ((thing, thing), {"a": b"1", "b": b"2"})
    assert seen == [tmp_path / "packages" / "sweethome3d-furniture-1.8-1", tmp_path / "work" / "models"]
    assert shop.part("x") == tmp_path / "parts" / "x"


def test_a_bank_of_nothing_is_told_with_the_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(package: Package, folder: Path) -> Path:
        raise DownloadError(f"{package.title} is not offered")

    monkeypatch.setattr(workshop, "fetch_package", lost)
    told: list[tuple[int, int, str]] = []
    shop = Workshop(folder=tmp_path / "shop", on_progress=lambda *one: told.append(one))
    with pytest.raises(RequestError, match=r"nothing could be built: @pmndrs/assets 1\.7\.0 is not offered"):
        build_bank(tmp_path / "bank", shop, only=["places"])
    assert shop.skipped == {"@pmndrs/assets 1.7.0": "@pmndrs/assets 1.7.0 is not offered"}
    assert told == [(0, len(workshop.PACKAGES), "fetching @pmndrs/assets 1.7.0 (14 MB)")]
    assert shop.fetch(PANORAMAS) is None  # and it is asked for once
    assert len(told) == 1


def look(id: str, style: Any, *angles: tuple[float, float]) -> Look:
    views = tuple(View(yaw, pitch, 0, (8, 6), f"{id}/{n:02d}.webp") for n, (yaw, pitch) in enumerate(angles))
    return Look(id=id, style=style, views=views, licence="", author="", source="")


def test_what_the_tiny_bank_keeps() -> None:
    def thing(name: str, *looks: Look) -> Thing:
        return Thing(name=name, plural=name, group="thing", looks=looks)

    flat, other = look("flat", "flat", (0, 0)), look("other", "flat", (0, 0))
    solid = look("solid", "3d", *((0, 0),) * 4)
    around = look("around", "rendered", (0, 20), (30, 20), (60, 20), (90, 20), (15, 55), (180, 20), (195, 40))
    things = (thing("cat", flat, other, solid, around), thing("dog", around, solid), thing("sofa", flat, around),
              thing("zebra", flat, solid, around))  # fmt: skip
    names = ("cave", "hall", "park", "forest", "pier")
    rooms = tuple(Place(name=name, wordings=(name,), member=f"places/{name}.webp", indoors=False, licence="", author="")
                  for name in names)  # fmt: skip
    persons = tuple(Person(look=look(f"p{n}", "flat", (0, 0)), parts={"kind": "person"}) for n in range(30))
    panorama = webp(Image.new("RGB", (32, 16), "red"))
    members = {place.member: panorama for place in rooms} | {
        "flat/00.webp": b"1",
        "flat/00.tint.webp": b"2",
        "other/00.webp": b"",
    }
    kept, pictures = tiny.cut_down(parts.Contents(name="all", things=things, places=rooms, people=persons), members)
    assert kept.name == "tiny"
    found = {one.name: [each.id for each in one.looks] for one in kept.things}
    assert found == {"cat": ["flat", "solid"], "dog": ["around"], "sofa": ["around"]}
    angles = [(view.yaw, view.pitch) for view in kept.things[-1].looks[-1].views]
    assert angles == [(0, 20), (60, 20), (15, 55), (180, 20)]
    assert len(kept.things[0].looks[1].views) == 2
    assert [place.name for place in kept.places] == ["park", "forest", "cave", "hall"]
    assert [int(person.look.id[1:]) for person in kept.people] == list(range(0, 24, 2))
    assert {name for name in pictures if name.startswith("flat")} == {"flat/00.webp", "flat/00.tint.webp"}
    assert "other/00.webp" not in pictures
    assert Image.open(io.BytesIO(pictures["places/park.webp"])).size == (256, 128)
    assert "places/pier.webp" not in pictures
