"""What a model can be asked for: the words of a bank that it was trained on."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sanakit.common.errors import RequestError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.banks.things import Look
from sanakit.worlds.scenes.vocabulary import COLOURS, DEFAULT_BACKGROUND, PLAIN_BACKGROUNDS, SCENE_BACKGROUNDS


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A bank cut to the names of a model, and the colours, plain and drawn grounds and places that are asked for.

    ``notes`` say what is left out.
    """

    bank: Bank
    colours: tuple[str, ...] = tuple(COLOURS)
    plain: tuple[str, ...] = tuple(name for name in PLAIN_BACKGROUNDS if name != DEFAULT_BACKGROUND)
    drawn: tuple[str, ...] = tuple(SCENE_BACKGROUNDS)
    places: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.bank.things)

    @cached_property
    def first_names(self) -> tuple[str, ...]:
        """Those of the fifty that the first starter knew: what the tiny bank holds as flat drawings."""
        first = {name for name, thing in load_bank("tiny").things.items() if any(map(_is_flat, thing.looks))}
        return tuple(name for name in self.bank.things if name in first)


def subject_of(
    bank: Bank,
    names: Iterable[str] | None,
    places: Iterable[str] | None = None,
    *,
    readable: Container[str] | None = None,
) -> Subject:
    """The part of a bank that a model knows and a reader can read.

    Args:
        names, places: of the model; None if it does not say which, then all of the bank are asked for.
        readable: names and places that the reader knows; None: all.

    Raises:
        RequestError: there is not one name that all three know.
    """
    wanted = list(bank.things if names is None else dict.fromkeys(names))
    known = [name for name in wanted if name in bank.things]
    read = [name for name in known if readable is None or name in readable]
    if not read:
        raise RequestError(f"of the {len(wanted)} names of the model the bank {bank.name!r} and the reader know none")
    of_model = set(bank.places if places is None else places)
    there = [name for name in bank.places if name in of_model]
    seen = tuple(name for name in there if readable is None or name in readable)
    notes = [
        *(["the model does not list its words, so every name of the bank is asked for"] if names is None else []),
        *_left_out("names of the bank, which the model does not know", len(bank.things) - len(known)),
        *_left_out("names of the model, which the bank does not have", len(wanted) - len(known)),
        *_left_out("names, which the reader does not know", len(known) - len(read)),
        *_left_out("places of the bank, which the model does not know", len(bank.places) - len(there)),
        *_left_out("places, which the reader does not know", len(there) - len(seen)),
    ]
    return Subject(bank=bank.subset(read), places=seen, notes=tuple(notes))


def read_names(path: Path) -> list[str]:
    """The names of a file, one a line; "#" begins a remark.

    Raises:
        RequestError: it cannot be read, or names nothing.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise RequestError(f"{path} names nothing; write one name of the bank a line")
    return names


def _is_flat(look: Look) -> bool:
    return look.style == "flat"


def _left_out(what: str, number: int) -> list[str]:
    return [f"left out: {number} {what}"] if number else []
