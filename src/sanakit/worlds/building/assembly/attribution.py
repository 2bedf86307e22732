"""The page that names everybody whose work is in a bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sanakit.worlds.banks.bank_files import Contents
from sanakit.worlds.banks.things import Look
from sanakit.worlds.building.packages import PACKAGES

_LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY 3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC BY 3.0 US": "https://creativecommons.org/licenses/by/3.0/us/",
}


def attribution(contents: Contents, notices: Sequence[str]) -> str:
    """Markdown: packages, then authors with their licences and how many looks are theirs, then licences in full."""
    used = [package for name, package in PACKAGES.items() if name in contents.packages]
    looks = [look for thing in contents.things for look in thing.looks] + [person.look for person in contents.people]
    rows = Counter(_row(look) for look in looks)
    rows.update((f"panorama, {place.author}", place.author, place.licence) for place in contents.places)
    lines = [
        "# Where the pictures of this bank come from",
        "",
        "Models were rendered, drawings rasterised, clips cut to single frames; all were cropped and reduced, and",
        "may be recoloured and put together in scenes.",
        *_table(
            ("package", "licence", "by"), [(f"[{one.title}]({one.address})", one.licence, one.author) for one in used]
        ),
        *_table(
            ("from", "by", "licence", "looks"),
            [(source, author, _linked(how), str(number)) for (source, author, how), number in sorted(rows.items())],
        ),
    ]
    return "\n".join([*lines, *(f"\n---\n\n```\n{notice.strip()}\n```" for notice in notices if notice.strip()), ""])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, none where there are no rows."""
    lines = [head, ["---"] * len(head), *rows] if rows else []
    return ["" for _ in lines[:1]] + [f"| {' | '.join(line)} |" for line in lines]


def _row(look: Look) -> tuple[str, str, str]:
    return look.source, look.author, look.licence


def _linked(licence: str) -> str:
    return f"[{licence}]({_LICENCES[licence]})" if licence in _LICENCES else licence
