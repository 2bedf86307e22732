"""``build_bank``: the parts made or taken, merged to one bank, credited, and summed up."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sanakit.common.errors import RequestError
from sanakit.common.files import written_aside
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import Contents, check_replaceable, load_bank, write_bank
from sanakit.worlds.banks.things import merge_things
from sanakit.worlds.building.assembly.attribution import attribution
from sanakit.worlds.building.assembly.names_apart import names_apart
from sanakit.worlds.building.assembly.parts import PARTS, finished_part
from sanakit.worlds.building.assembly.tiny import cut_down
from sanakit.worlds.building.assembly.workshop import Workshop


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What a bank holds. ``names`` counts the things that have a name, by language; ``skipped`` is title -> reason."""

    folder: str
    num_things: int
    num_looks: int
    num_views: int
    num_places: int
    num_people: int
    names: Mapping[str, int]
    megabytes: float
    skipped: Mapping[str, str]


def build_bank(output: Path, shop: Workshop, *, only: Sequence[str] = (), tiny: bool = False) -> BuildReport:
    """Write the bank of all parts, or of those named in ``only``, to ``output``.

    Packages and finished parts are kept in the workshop, so that the next run goes on where this one ended.
    ``tiny`` cuts it down to what ships with the package.

    Raises:
        RequestError: a part that there is not, nothing was to be had, or ``output`` holds something else than a bank,
            which is said before anything is fetched or made.
        MissingExtraError: a package that renders or draws is not installed.
        OutputError: a place cannot be written, or another process is building in the same workshop.
    """
    if unknown := sorted(set(only) - set(PARTS)):
        raise RequestError(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    wanted = [name for name, part in PARTS.items() if (name in only if only else part.within is None)]
    if twice := [name for name in wanted if PARTS[name].within in wanted]:
        raise RequestError(f"the part {PARTS[twice[0]].within} holds the {twice[0]} too; name one of them")
    check_replaceable(output := output.resolve())
    with written_aside(shop.folder / "report.json", locked=True) as place:  # one process at a time makes parts
        parts = [finished_part(name, shop) for name in wanted]
        _write(output, parts, shop, tiny=tiny)
        found = report(load_bank(output), shop)
        place.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    return found


def _write(output: Path, parts: Sequence[Bank], shop: Workshop, *, tiny: bool) -> None:
    contents, members = _merged(parts, output.name)
    if not contents.things and not contents.places and not contents.people:
        raise RequestError(f"nothing could be built: {'; '.join(shop.skipped.values())}")
    if tiny:
        contents, members = cut_down(contents, members)
    notices = [(bank.folder / "ATTRIBUTION.md").read_text("utf-8") for bank in parts]
    write_bank(output, replace(contents, attribution=attribution(contents, notices)), members)


def report(bank: Bank, shop: Workshop) -> BuildReport:
    """Counts of a bank that is written."""
    looks = [look for thing in bank.things.values() for look in thing.looks] + [one.look for one in bank.people]
    return BuildReport(
        folder=str(bank.folder),
        num_things=len(bank.things),
        num_looks=len(looks),
        num_views=sum(len(look.views) for look in looks),
        num_places=len(bank.places),
        num_people=len(bank.people),
        names=dict(sorted(Counter(language for thing in bank.things.values() for language in thing.names).items())),
        megabytes=round(sum(path.stat().st_size for path in bank.folder.iterdir()) / 1e6, 1),
        skipped=dict(shop.skipped),
    )


def _merged(parts: Sequence[Bank], name: str) -> tuple[Contents, dict[str, bytes]]:
    things = names_apart(merge_things(thing for bank in parts for thing in bank.things.values()))
    packages: dict[str, Mapping[str, str]] = {}
    members: dict[str, bytes] = {}
    for bank in parts:
        packages.update(bank.packages)
        with zipfile.ZipFile(bank.folder / "views.zip") as archive:
            members.update((member, archive.read(member)) for member in archive.namelist())
    contents = Contents(
        name=name,
        things=things,
        places=tuple(place for bank in parts for place in bank.places.values()),
        people=tuple(person for bank in parts for person in bank.people),
        packages=packages,
    )
    return contents, members
