"""What a model can be asked for: the words of a bank that it was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sanakit.common.errors import RequestError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.scenes.vocabulary import COLOURS, DEFAULT_BACKGROUND, ITEMS, PLAIN_BACKGROUNDS, SCENE_BACKGROUNDS


@dataclass(frozen=True, kw_only=True, slots=True)
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

    @property
    def first_names(self) -> tuple[str, ...]:
        """Those of the fifty that the first starter knew."""
        return tuple(name for name in self.bank.things if name in ITEMS)


def subject_of(bank: Bank, names: Iterable[str] | None, places: Iterable[str] | None = None) -> Subject:
    """The part of a bank that a model knows.

    Args:
        names, places: of the model; None if it does not say which, then all of the bank are asked for.

    Raises:
        RequestError: the bank has none of the names.
    """
    notes: list[str] = []
    if names is None:
        notes.append("the model does not list its words, so every name of the bank is asked for")
    else:
        wanted = list(dict.fromkeys(names))
        known = [name for name in wanted if name in bank.things]
        if not known:
            raise RequestError(
                f"the bank {bank.name!r} has none of the {len(wanted)} names of the model; give its bank"
            )
        notes += _left_out("names of the bank, which the model does not know", len(bank.things) - len(known))
        notes += _left_out("names of the model, which the bank does not have", len(wanted) - len(known))
        bank = bank.subset(known)
    there = tuple(bank.places)
    if places is not None:
        there = tuple(name for name in bank.places if name in set(places))
        notes += _left_out("places of the bank, which the model does not know", len(bank.places) - len(there))
    return Subject(bank=bank, places=there, notes=tuple(notes))


def _left_out(what: str, number: int) -> list[str]:
    return [f"left out: {number} {what}"] if number else []
