"""Winners that are in a folder already, so that a run which was killed goes on."""

from __future__ import annotations

from contextlib import suppress
from glob import escape

from sanakit.common.errors import PictureError
from sanakit.pipelines.best_of.contest import Contest
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.picture_place import OutputPlace, slug


def finished_in(place: OutputPlace, contest: Contest) -> set[int]:
    """Places of the winners of this very contest that lie where it would write them, by the records inside.

    A single file is always written anew.
    """
    if place.file is not None:
        return set()
    named = f"{escape(slug(contest.plan.request.prompt))}-seed*{place.suffix}"
    found: set[int] = set()
    for file in place.folder.glob(named):
        with suppress(PictureError):
            number = contest.place_of(read_record(file))
            found |= set() if number is None else {number}
    return found
