"""Near-duplicates by perceptual hash: each is found once, in one decision over all hashes.

In the order of the keys, a picture is dropped if its hash lies within ``distance`` bits of a picture that was kept.
So the first key of every group of look-alikes stays, everything dropped resembles the very picture that it is said to
duplicate, and long chains of small differences do not swallow pictures that look nothing alike. The answer depends on
the hashes and their order alone, not on who computed them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from sanakit.common.errors import optional

if TYPE_CHECKING:
    from PIL import Image


class Match(NamedTuple):
    """The kept picture that a dropped one resembles."""

    position: int  # of the kept picture in the order of the keys
    distance: int  # bits


def perceptual_hash(image: Image.Image, hash_size: int) -> str:
    """The DCT hash of a picture (imagehash.phash): ``hash_size ** 2`` bits in hexadecimal.

    Raises:
        MissingExtraError: imagehash is not installed.
    """
    return str(require_imagehash().phash(image, hash_size=hash_size))


def require_imagehash() -> Any:
    """The module ``imagehash``.

    Raises:
        MissingExtraError: it is not installed.
    """
    return optional("imagehash", "perceptual hashes need imagehash; run: pip install 'sanakit[data]'")


def find_near_duplicates(
    hashes: Iterable[tuple[int, str]], *, distance: int, num_bits: int
) -> Iterator[tuple[int, Match | None]]:
    """For each ``(position, hexadecimal hash)`` in turn: the kept picture it duplicates, or None if it is kept itself.

    Of several kept pictures within reach the nearest is named, of equally near ones the first.

    Hashes that differ in at most ``distance`` bits agree in one of ``distance + 1`` pieces at least, so only kept
    hashes that share a piece are compared.
    """
    pieces = _pieces(num_bits, distance + 1)
    kept: list[dict[int, list[tuple[int, int]]]] = [defaultdict(list) for _ in pieces]  # piece -> (position, bits)
    first: dict[int, int] = {}  # kept bits -> position: most duplicates are exact, and nothing is nearer
    for position, text in hashes:
        bits = int(text, 16)
        match = Match(first[bits], 0) if bits in first else _nearest(bits, kept, pieces, distance)
        if match is None:
            first[bits] = position
            for table, (shift, mask) in zip(kept, pieces, strict=True):
                table[bits >> shift & mask].append((position, bits))
        yield position, match


def _nearest(
    bits: int, kept: list[dict[int, list[tuple[int, int]]]], pieces: list[tuple[int, int]], distance: int
) -> Match | None:
    parts = (table.get(bits >> shift & mask, ()) for table, (shift, mask) in zip(kept, pieces, strict=True))
    found = (((bits ^ other).bit_count(), position) for part in parts for position, other in part)
    nearest, position = min(found, default=(distance + 1, -1))
    return Match(position, nearest) if nearest <= distance else None


def _pieces(num_bits: int, count: int) -> list[tuple[int, int]]:
    """(shift, mask) of ``count`` neighbouring pieces that cover all bits."""
    edges = [num_bits * i // count for i in range(count + 1)]
    return [(low, (1 << high - low) - 1) for low, high in pairwise(edges)]
