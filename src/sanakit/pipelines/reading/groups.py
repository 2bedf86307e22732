"""What pieces of a prompt are beside others: a rose or pink, there or not there."""

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


def without_negated(pieces: Sequence[Piece], lexicon: Lexicon) -> list[Piece]:
    """What is not to be there is not said, for it would be drawn: of "ein Hund ohne Hut" the dog."""
    if lexicon.negation_after:
        return _without_before(pieces)
    kept: list[Piece] = []
    at = 0
    while at < len(pieces):
        if pieces[at].kind == "without":
            at = _end_of_negated(pieces, at + 1, lexicon.adjectives_after)
        else:
            kept.append(pieces[at])
            at += 1
    return kept


def _end_of_negated(pieces: Sequence[Piece], at: int, adjectives_after: bool) -> int:
    """Behind a thing that is not there, and behind others that "and" or "or" add to it without an article."""
    seen = False
    while at < len(pieces):
        piece = pieces[at]
        follower = pieces[at + 1] if at + 1 < len(pieces) else None
        if not seen and piece.kind in (*_OF_ONE_THING, "unknown"):
            seen = piece.kind in ("noun", "unknown")
        elif seen and piece.text in ("and", "or") and follower and follower.kind in ("adjective", "noun", "unknown"):
            seen = False
        elif not (seen and adjectives_after and piece.kind == "adjective"):
            return at
        at += 1
    return at


def _without_before(pieces: Sequence[Piece]) -> list[Piece]:
    kept: list[Piece] = []
    for piece in pieces:
        if piece.kind != "without":
            kept.append(piece)
            continue
        while kept and kept[-1].kind == "drop":
            kept.pop()
        if kept and kept[-1].kind in ("noun", "unknown"):
            kept.pop()
        while kept and kept[-1].kind in ("adjective", "number", "article"):
            kept.pop()
    return kept


def _groups(pieces: Sequence[Piece], lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    """From where to where pieces may belong to one thing."""
    start = 0
    for at, piece in enumerate(pieces):
        new = piece.kind == "article" or (piece.kind == "number" and not lexicon.numbers_after)
        if new or piece.kind not in _OF_ONE_THING:
            yield start, at
            start = at if new else at + 1
    yield start, len(pieces)
