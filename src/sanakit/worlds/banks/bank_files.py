"""Banks in and out: ``load_bank`` finds and reads one, ``write_bank`` writes one whole or not at all."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from sanakit.common.config import to_mapping
from sanakit.common.errors import RequestError
from sanakit.common.files import is_aside, unwritten, write_json, written_aside
from sanakit.common.user_cache import user_cache_folder
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Look, Person, Place, Thing, View

VERSION = 1
_FILES = frozenset({"bank.json", "views.zip", "ATTRIBUTION.md", "stamp.json"})  # the last: what a part was made of


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a bank is made of beside its pictures; ``packages`` is name -> {"version", "sha256"}."""

    name: str
    things: tuple[Thing, ...]
    places: tuple[Place, ...] = ()
    people: tuple[Person, ...] = ()
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attribution: str = ""


def full_bank_folder() -> Path:
    """Where the bank that a user builds is kept."""
    return user_cache_folder() / "worlds" / "full"


def load_bank(source: str | Path | None = None) -> Bank:
    """A bank: "tiny" ships with the package, "full" (also None) is the user's own, anything else is a folder.

    Raises:
        RequestError: there is no bank, or it cannot be read.
    """
    if source == "tiny":
        return _read_bank(Path(str(resources.files("sanakit").joinpath("worlds", "banks", "tiny"))))
    if source in (None, "full"):
        if not (full_bank_folder() / "bank.json").exists():
            raise RequestError(
                "the full bank of things is not on this machine; build it once: sanakit data worlds build"
            )
        return _read_bank(full_bank_folder())
    return _read_bank(Path(str(source)).expanduser())


def check_replaceable(folder: Path) -> None:
    """A bank takes the place of another one, or of an empty folder, and of nothing else.

    Raises:
        RequestError: ``folder`` is a file, or holds something that is no part of a bank.
    """
    if not folder.is_dir():
        if folder.exists():
            raise RequestError(f"{folder} is a file; a bank is a folder, give it another name")
        return
    with unwritten(folder):
        names = sorted(path.name for path in folder.iterdir() if not is_aside(path))
    foreign = [name for name in names if name not in _FILES] or (names if "bank.json" not in names else [])
    if foreign:
        raise RequestError(
            f"{folder} holds {foreign[0]}, which is no part of a bank, and a bank would replace the whole folder; "
            f"give another one"
        )


def write_bank(folder: Path, contents: Contents, members: Mapping[str, bytes]) -> None:
    """Write a bank; the same contents give the same bytes. ``members`` are encoded pictures by their names.

    Raises:
        RequestError: a picture is missing, two things share a name, or ``folder`` holds something else than a bank.
        OutputError: the place cannot be written; what was there is as it was.
    """
    folder = folder.resolve()
    check_replaceable(folder)
    _check(contents, members)
    with written_aside(folder) as building:
        building.mkdir()
        write_json(building / "bank.json", _plain(contents), indent=None)
        with zipfile.ZipFile(building / "views.zip", "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(members):
                archive.writestr(zipfile.ZipInfo(name), members[name])  # dated 1980, so that bytes repeat
        (building / "ATTRIBUTION.md").write_text(contents.attribution, encoding="utf-8")


def renew_things(folder: Path, things: Sequence[Thing]) -> None:
    """Write other words into a bank that is there; its pictures, and which look has which, stay as they are.

    Raises:
        RequestError: there is no bank.
        OutputError: the file cannot be written; what was there is as it was.
    """
    _read_bank(folder)
    plain = json.loads((folder / "bank.json").read_bytes())
    write_json(folder / "bank.json", {**plain, "things": [_plain_thing(thing) for thing in things]}, indent=None)


def _check(contents: Contents, members: Mapping[str, bytes]) -> None:
    looks = [look for thing in contents.things for look in thing.looks] + [one.look for one in contents.people]
    needed = [view.member for look in looks for view in look.views] + [place.member for place in contents.places]
    for what, names in (
        ("things are called", [thing.name for thing in contents.things]),
        ("looks have the id", [look.id for look in looks]),
    ):
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise RequestError(f"two {what} {twice[0]!r}; each must be there once")
    if missing := [name for name in needed if name not in members]:
        raise RequestError(f"{len(missing)} pictures of the bank are missing, among them {missing[0]}")


def _plain(contents: Contents) -> dict[str, Any]:
    return {
        "version": VERSION,
        "name": contents.name,
        "packages": {name: dict(contents.packages[name]) for name in sorted(contents.packages)},
        "things": [_plain_thing(thing) for thing in contents.things],
        "places": [to_mapping(place) for place in contents.places],
        "people": [{"look": _plain_look(one.look), "parts": dict(one.parts)} for one in contents.people],
    }


def _plain_thing(thing: Thing) -> dict[str, Any]:
    return {**to_mapping(thing), "looks": [_plain_look(look) for look in thing.looks]}


def _plain_look(look: Look) -> dict[str, Any]:
    views = [[view.yaw, view.pitch, view.frame, *view.size, view.member] for view in look.views]
    return {**to_mapping(look), "views": views}


def _read_bank(folder: Path) -> Bank:
    try:
        plain = json.loads((folder / "bank.json").read_bytes())
        version = plain["version"]
        things = [_thing(row) for row in plain["things"]] if version == VERSION else []
        places = [Place(**{**row, "wordings": tuple(row["wordings"])}) for row in plain["places"]]
        people = [Person(look=_look(row["look"]), parts=row["parts"]) for row in plain["people"]]
    except OSError as error:
        raise RequestError(f"{folder} holds no bank (bank.json: {error.strerror})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{folder}/bank.json is not a bank ({error}); build it again") from error
    if version != VERSION:
        raise RequestError(f"{folder} holds a bank of version {version}, not {VERSION}; build it again")
    bank = Bank(folder, plain["name"], things, places, people)
    bank.packages = plain["packages"]
    return bank


def _thing(row: dict[str, Any]) -> Thing:
    return Thing(
        **{
            **row,
            "looks": tuple(map(_look, row["looks"])),
            "synonyms": tuple((one, many) for one, many in row["synonyms"]),
            "keywords": tuple(row["keywords"]),
            "more_emoji": tuple(row["more_emoji"]),
            "more_names": {language: tuple(names) for language, names in row["more_names"].items()},
            "size_cm": None if row["size_cm"] is None else tuple(row["size_cm"]),
        }
    )


def _look(row: dict[str, Any]) -> Look:
    views = tuple(View(yaw, pitch, frame, (w, h), member) for yaw, pitch, frame, w, h, member in row["views"])
    return Look(**{**row, "views": views})
