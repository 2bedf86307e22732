"""What pieces of a prompt are beside others: a rose or pink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sanakit.pipelines.reading.lexicon import Lexicon, Piece

_OF_ONE_THING = ("article", "number", "adjective", "noun", "drop")


def colours_or_things(pieces: Sequence[Piece], lexicon: Lexicon) -> list[Piece]:
    """A word that is a colour and a thing, such as "rosa", is the thing where nothing else has the colour."""
    settled = list(pieces)
    for start, stop in _groups(pieces, lexicon):
        both = [at for at in range(start, stop) if pieces[at].kind == "adjective" and pieces[at].noun is not None]
        beside = pieces[start - 1 : start] if lexicon.adjectives_after else pieces[stop : stop + 1]
        owned = any(piece.kind == "noun" for piece in pieces[start:stop]) or any(p.kind == "unknown" for p in beside)
        for at in both:
            settled[at] = replace(pieces[at], noun=None)
        if both and not owned:
            at = both[0 if lexicon.adjectives_after else -1]
            thing = pieces[at]
            settled[at] = replace(thing, kind="noun", text=thing.noun.name if thing.noun else "")
    return settled


def _groups(pieces: Sequence[Piece], lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    """From where to where pieces may belong to one thing."""
    start = 0
    for at, piece in enumerate(pieces):
        new = piece.kind == "article" or (piece.kind == "number" and not lexicon.numbers_after)
        if new or piece.kind not in _OF_ONE_THING:
            yield start, at
            start = at if new else at + 1
    yield start, len(pieces)
