"""Banks in and out: ``load_bank`` finds and reads one, ``write_bank`` writes one whole or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from sanakit.common.config import json_values, to_mapping
from sanakit.common.errors import RequestError
from sanakit.common.files import is_aside, unwritten, write_json, written_aside
from sanakit.common.paths import as_path
from sanakit.common.user_cache import user_cache_folder
from sanakit.data.sources.files import lines_of, read_text
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.checks import check_contents, check_pictures, is_of
from sanakit.worlds.banks.things import Look, Person, Place, Thing, View

VERSION = 1
_BUILT = {"full": "sanakit data worlds build", "drawings": "sanakit data worlds build --only drawings"}
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


def built_bank_folder(name: str = "full") -> Path:
    """Where a bank that a user builds is kept."""
    return user_cache_folder() / "worlds" / name


def load_bank(source: str | Path | None = None) -> Bank:
    """A bank: "tiny" ships with the package, "full" (also None) and "drawings", its flat drawings alone, are built by
    the user, anything else is a folder.

    Raises:
        RequestError: there is no bank, or it cannot be read.
    """
    if source == "tiny":
        return _read_bank(Path(str(resources.files("sanakit").joinpath("worlds", "banks", "tiny"))))
    name = "full" if source is None else str(source)
    if name in _BUILT:
        folder = built_bank_folder(name)
        if not (folder / "bank.json").exists():
            raise RequestError(f"the {name} bank of things is not on this machine; build it once: {_BUILT[name]}")
        return _read_bank(folder)
    return _read_bank(as_path(name))


def read_names(path: str | Path) -> list[str]:
    """Names of things in a file, one a line; "#" begins a remark.

    Raises:
        RequestError: it cannot be read, or names nothing.
    """
    try:
        lines = lines_of(read_text(as_path(path)))
    except ValueError as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise RequestError(f"{path} names nothing; write one name of the bank a line")
    return names


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
        RequestError: a picture is missing, the contents are not those of a bank, or ``folder`` holds something else.
        OutputError: the place cannot be written; what was there is as it was.
    """
    folder = folder.resolve()
    check_replaceable(folder)
    check_contents(contents.things, contents.places, contents.people)
    check_pictures(contents.things, contents.places, contents.people, members)
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
        RequestError: there is no bank, or the things are not those of one.
        OutputError: the file cannot be written; what was there is as it was.
    """
    bank = _read_bank(folder)
    check_contents(things, tuple(bank.places.values()), bank.people)
    plain = json_values((folder / "bank.json").read_bytes())
    write_json(folder / "bank.json", {**plain, "things": [_plain_thing(thing) for thing in things]}, indent=None)


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
    plain = _read_plain(folder)
    try:
        things, places, people = (_rows(plain, *how) for how in _ROWS)
        for key, hint in (("name", str), ("packages", Mapping[str, Mapping[str, str]])):
            if not is_of(hint, plain.get(key)):
                raise RequestError(f"{key} is missing or of another type")
        check_contents(things, places, people)
    except RequestError as error:
        raise RequestError(f"{folder}/bank.json is not a bank ({error}); build it again") from error
    bank = Bank(folder, plain["name"], things, places, people)
    bank.packages = plain["packages"]
    try:
        check_pictures(things, places, people, bank)
    except RequestError as error:
        raise RequestError(f"{folder} is not whole ({error}); build it again") from error
    return bank


def _read_plain(folder: Path) -> dict[str, Any]:
    """What is in ``bank.json``, of this version."""
    try:
        plain = json_values((folder / "bank.json").read_bytes())
    except OSError as error:
        raise RequestError(f"{folder} holds no bank (bank.json: {error.strerror})") from error
    except ValueError as error:
        raise RequestError(f"{folder}/bank.json is not a bank ({error}); build it again") from error
    if not isinstance(plain, dict) or not isinstance(version := plain.get("version"), int):
        raise RequestError(f"{folder}/bank.json is not a bank (no version); build it again")
    if version != VERSION:
        way = "update sanakit, or build it again" if version > VERSION else "build it again"
        raise RequestError(f"{folder} holds a bank of version {version}, not {VERSION}; {way}")
    return plain


def _rows(plain: dict[str, Any], key: str, make: Callable[[Any], Any]) -> list[Any]:
    if not isinstance(rows := plain.get(key), list):
        raise RequestError(f"{key} is not a list")
    made = []
    for number, row in enumerate(rows):
        try:
            made.append(make(row))
        except KeyError as error:
            raise RequestError(f"{key}[{number}] has no {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise RequestError(f"{key}[{number}]: {error}") from error
    return made


def _thing(row: dict[str, Any]) -> Thing:
    return Thing(
        **{
            **row,
            "looks": tuple(map(_look, row["looks"])),
            "synonyms": tuple(map(_tuple, _tuple(row["synonyms"]))),
            "keywords": _tuple(row["keywords"]),
            "more_emoji": _tuple(row["more_emoji"]),
            "more_names": {language: _tuple(names) for language, names in _mapping(row["more_names"]).items()},
            "size_cm": None if row["size_cm"] is None else _tuple(row["size_cm"]),
        }
    )


def _place(row: dict[str, Any]) -> Place:
    return Place(**{**row, "wordings": _tuple(row["wordings"])})


def _person(row: dict[str, Any]) -> Person:
    return Person(look=_look(row["look"]), parts=row["parts"])


def _tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.60} is not a list")
    return tuple(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.60} is not a mapping")
    return value


def _look(row: dict[str, Any]) -> Look:
    views = tuple(View(yaw, pitch, frame, (w, h), member) for yaw, pitch, frame, w, h, member in row["views"])
    return Look(**{**row, "views": views})


_ROWS: tuple[tuple[str, Callable[[Any], Any]], ...] = (("things", _thing), ("places", _place), ("people", _person))
