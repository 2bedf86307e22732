"""Banks put together: parts kept and made again, merged, credited, skipped, cut down."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sanakit.common.errors import DownloadError, OutputError, RequestError
from sanakit.common.files import written_aside
from sanakit.worlds.banks.bank_files import Contents, load_bank
from sanakit.worlds.banks.things import Look, Person, Place, Thing, View
from sanakit.worlds.building.assembly import parts as parts_module
from sanakit.worlds.building.assembly import workshop as workshop_module
from sanakit.worlds.building.assembly.attribution import attribution
from sanakit.worlds.building.assembly.build import build_bank
from sanakit.worlds.building.assembly.names_apart import names_apart
from sanakit.worlds.building.assembly.parts import Made, Part
from sanakit.worlds.building.assembly.workshop import Workshop
from sanakit.worlds.building.packages import FLUENT_FLAT, FURNITURE, Package


def webp(size: tuple[int, int] = (8, 6), mode: str = "RGBA") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 128).save(file, "WEBP", lossless=True)
    return file.getvalue()


def look(id: str, style: str, yaws: tuple[float, ...] = (0.0,)) -> Look:
    views = tuple(View(yaw, 20.0, 0, (8, 6), f"{id}/{number:02d}.webp") for number, yaw in enumerate(yaws))
    return Look(id=id, style=style, views=views, licence="CC0-1.0", author="A. Maker", source="made here")  # type: ignore[arg-type]


def made(*things: Thing, places: tuple[Place, ...] = (), people: tuple[Person, ...] = ()) -> Made:
    looks = [look for thing in things for look in thing.looks] + [person.look for person in people]
    members = {view.member: webp() for look in looks for view in look.views}
    members.update({place.member: webp((64, 32), "RGB") for place in places})
    return Made(things=things, places=places, people=people, members=members, notices=("A licence in full",))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop with two small parts, whose packages are all there."""
    chair = Thing(name="cat", plural="cats", group="animal", looks=(look("model", "rendered", (0.0, 30.0, 60.0)),))
    drawn = Thing(
        name="cat",
        plural="cats",
        group="animal",
        looks=(look("flat-cat", "flat"),),
        synonyms=(("kitten", "kittens"), ("pet", "pets")),
        names={"de": "Katze"},
    )
    zebra = Thing(name="pet", plural="pets", group="animal", looks=(look("zebra", "3d"),))
    place = Place(
        name="park", wordings=("in a park",), member="places/park.webp", indoors=False, licence="CC0-1.0", author="B"
    )
    person = Person(look=look("peep", "flat"), parts={"kind": "person"})
    monkeypatch.setattr(
        parts_module,
        "PARTS",
        {
            "models": Part(packages=(FURNITURE,), data=(), make=lambda shop: made(chair, places=(place,))),
            "emoji": Part(
                packages=(FLUENT_FLAT,),
                data=("emoji/names.txt",),
                make=lambda shop: made(drawn, zebra, people=(person,)),
            ),
        },
    )
    monkeypatch.setattr("sanakit.worlds.building.assembly.build.PARTS", parts_module.PARTS)
    monkeypatch.setattr(workshop_module, "fetch_package", lambda package, folder: folder / package.file)
    return Workshop(folder=tmp_path / "shop")


def test_things_of_one_name_become_one_and_every_maker_is_named(shop: Workshop, tmp_path: Path) -> None:
    found = build_bank(tmp_path / "bank", shop)
    bank = load_bank(tmp_path / "bank")
    assert [look.id for look in bank.things["cat"].looks] == ["model", "flat-cat"]
    assert bank.things["cat"].synonyms == (("kitten", "kittens"),), "a synonym that is another thing is left out"
    assert (found.num_things, found.num_looks, found.num_views, found.num_places, found.num_people) == (2, 4, 6, 1, 1)
    assert found.names == {"de": 1}
    assert set(bank.packages) == {FURNITURE.name, FLUENT_FLAT.name}
    page = (tmp_path / "bank" / "ATTRIBUTION.md").read_text()
    assert "| made here | A. Maker | [CC0-1.0](https://creativecommons.org" in page
    assert "A licence in full" in page


def test_a_finished_part_is_taken_and_one_of_other_packages_is_made_again(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_bank(tmp_path / "bank", shop)
    before = {name: (shop.part(name) / "views.zip").stat().st_mtime_ns for name in ("models", "emoji")}

    def fetch(package: Package, folder: Path) -> Path:
        if package is FURNITURE:
            raise DownloadError("sweethome3d-furniture 1.8-1 is not offered")
        return folder / package.file

    monkeypatch.setattr(workshop_module, "fetch_package", fetch)
    again = Workshop(folder=shop.folder)
    found = build_bank(tmp_path / "bank", again)
    after = {name: (shop.part(name) / "views.zip").stat().st_mtime_ns for name in ("models", "emoji")}
    assert after["emoji"] == before["emoji"]
    assert after["models"] != before["models"]
    assert found.skipped == {"sweethome3d-furniture 1.8-1": "sweethome3d-furniture 1.8-1 is not offered"}


def test_a_part_within_another_is_made_where_it_is_named_alone(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiger = Thing(name="tiger", plural="tigers", group="animal", looks=(look("tiger", "flat"),))
    monkeypatch.setitem(
        parts_module.PARTS, "drawings", Part(packages=(), data=(), make=lambda shop: made(tiger), within="emoji")
    )
    build_bank(tmp_path / "whole", shop)
    assert "tiger" not in load_bank(tmp_path / "whole").things
    build_bank(tmp_path / "flat", shop, only=["drawings", "models"])
    assert set(load_bank(tmp_path / "flat").things) == {"cat", "tiger"}
    with pytest.raises(RequestError, match="the part emoji holds the drawings too"):
        build_bank(tmp_path / "both", shop, only=["drawings", "emoji"])


def test_a_folder_of_something_else_is_refused_before_anything_is_made(shop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").touch()
    with pytest.raises(RequestError, match=r"thesis\.txt"):
        build_bank(tmp_path / "work", shop)
    assert not shop.folder.exists()
    assert (tmp_path / "work" / "thesis.txt").exists()


def test_a_bank_without_packages_has_no_empty_table(shop: Workshop, tmp_path: Path) -> None:
    build_bank(tmp_path / "bank", shop)
    page = (tmp_path / "bank" / "ATTRIBUTION.md").read_text()
    assert page.count("\n\n| ") == 2
    people = Person(look=look("peep", "flat"), parts={"kind": "person"})
    page = attribution(Contents(name="people", things=(), people=(people,)), [])
    assert page.count("\n\n| ") == 1
    assert "| made here | A. Maker |" in page
    assert attribution(Contents(name="none", things=()), []).count("|") == 0


def test_other_names_leave_the_pictures(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(shop: Workshop, things: tuple[Thing, ...]) -> tuple[Thing, ...]:
        return tuple(replace(thing, names={"de": f"Haus{thing.name}"}) for thing in things)

    def part(names: str, made: Made | None) -> Part:
        def make(shop: Workshop) -> Made:
            assert made, "nothing is drawn again"
            return made

        return Part(packages=(FURNITURE,), data=(), make=make, names=(names,), rename=rename)

    tiger = Thing(name="tiger", plural="tigers", group="animal", looks=(look("tiger", "3d"),), names={"de": "Tiger"})
    monkeypatch.setitem(parts_module.PARTS, "models", part("emoji/names.txt", made(tiger)))
    build_bank(tmp_path / "bank", shop, only=["models"])
    assert load_bank(tmp_path / "bank").things["tiger"].names == {"de": "Tiger"}
    monkeypatch.setitem(parts_module.PARTS, "models", part("emoji/drawings.txt", None))
    pictures = (shop.part("models") / "views.zip").stat().st_mtime_ns
    build_bank(tmp_path / "bank", shop, only=["models"])
    bank = load_bank(tmp_path / "bank")
    assert bank.things["tiger"].names == {"de": "Haustiger"}
    assert bank.image(bank.things["tiger"].looks[0].views[0]).size == (8, 6)
    assert (shop.part("models") / "views.zip").stat().st_mtime_ns == pictures


def test_a_name_means_one_thing_in_a_language() -> None:
    def thing(name: str, *names: str) -> Thing:
        return Thing(
            name=name,
            plural=f"{name}s",
            group="thing",
            looks=(),
            names={"de": names[0]},
            more_names={"de": names[1:]} if names[1:] else {},
        )

    things = [thing("bank", "Bank"), thing("bench", "bank"), thing("cake", "Torte", "Kuchen"), thing("pie", "Kuchen")]
    things += [thing("toy fan", "Lüfter", "Ventilator"), thing("toy helix", "Lüfter")]
    names = {thing.name: (dict(thing.names), dict(thing.more_names)) for thing in names_apart(things)}
    assert names["bench"] == ({"de": "bank"}, {})
    assert names["bank"] == ({}, {}), "the usual thing has it"
    assert names["pie"] == ({"de": "Kuchen"}, {}), "a main name goes before a further one"
    assert names["cake"] == ({"de": "Torte"}, {})
    assert names["toy fan"] == ({"de": "Lüfter"}, {"de": ("Ventilator",)})
    assert names["toy helix"] == ({}, {})


def test_only_some_parts(shop: Workshop, tmp_path: Path) -> None:
    assert build_bank(tmp_path / "bank", shop, only=["models"]).num_looks == 1
    with pytest.raises(RequestError, match="no part 'places'; the parts are models, emoji"):
        build_bank(tmp_path / "bank", shop, only=["places"])


def test_the_tiny_bank_keeps_a_few(shop: Workshop, tmp_path: Path) -> None:
    build_bank(tmp_path / "tiny", shop, tiny=True)
    bank = load_bank(tmp_path / "tiny")
    assert [look.id for look in bank.things["cat"].looks] == ["flat-cat"]
    assert list(bank.things) == ["cat"]
    assert bank.panorama(bank.places["park"]).size == (256, 128)


def test_one_process_at_a_time(shop: Workshop, tmp_path: Path) -> None:
    with (
        written_aside(shop.folder / "report.json", locked=True),
        pytest.raises(OutputError, match="another process is writing"),
    ):
        build_bank(tmp_path / "bank", shop)
    assert not (tmp_path / "bank").exists()
