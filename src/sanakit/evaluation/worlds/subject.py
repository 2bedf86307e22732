"""What a model can be asked for: the words of a bank that it was trained on."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar, get_args

from sanakit.common.errors import RequestError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.banks.things import Look, Style
from sanakit.worlds.scenes.description import RELATIONS, Relation, ViewWord
from sanakit.worlds.scenes.vocabulary import COLOURS, DEFAULT_BACKGROUND, PLAIN_BACKGROUNDS, SCENE_BACKGROUNDS
from sanakit.worlds.telling.phrases import RELATION_WORDINGS

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A bank cut to the names of a model, and the other words that are asked for; ``notes`` say what is left out."""

    bank: Bank
    colours: tuple[str, ...] = tuple(COLOURS)
    plain: tuple[str, ...] = tuple(name for name in PLAIN_BACKGROUNDS if name != DEFAULT_BACKGROUND)
    drawn: tuple[str, ...] = tuple(SCENE_BACKGROUNDS)
    places: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = RELATIONS
    views: tuple[ViewWord, ...] = get_args(ViewWord)
    styles: tuple[Style, ...] = get_args(Style)
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.bank.things)

    @cached_property
    def first_names(self) -> tuple[str, ...]:
        """Those of the fifty that the first starter knew: what the tiny bank holds as flat drawings."""
        first = {name for name, thing in load_bank("tiny").things.items() if any(map(_is_flat, thing.looks))}
        return tuple(name for name in self.bank.things if name in first)


def subject_of(bank: Bank, words: Mapping[str, Any], *, readable: Container[str] | None = None) -> Subject:
    """The part of a bank that a model knows and a reader can read.

    Args:
        words: of the model, as its ``words.json`` lists them; of a kind that it does not list all are asked for.
        readable: names and places that the reader knows; None: all.

    Raises:
        RequestError: there is not one name that all three know.
    """
    wanted = [each["name"] for each in words["things"]] if "things" in words else list(bank.things)
    known = [name for name in wanted if name in bank.things]
    read = [name for name in known if readable is None or name in readable]
    if not read:
        raise RequestError(f"of the {len(wanted)} names of the model the bank {bank.name!r} and the reader know none")
    there = _known(bank.places, words.get("places"))
    places = tuple(name for name in there if readable is None or name in readable)
    whole = Subject(bank=bank)
    grounds = words.get("grounds")
    notes = [
        *([] if words else ["the model does not list its words, so all of the bank's are asked for"]),
        *_left_out("names of the bank, which the model does not know", len(bank.things) - len(known)),
        *_left_out("names of the model, which the bank does not have", len(wanted) - len(known)),
        *_left_out("names, which the reader does not know", len(known) - len(read)),
        *_left_out("places of the bank, which the model does not know", len(bank.places) - len(there)),
        *_left_out("places, which the reader does not know", len(there) - len(places)),
    ]
    subject = Subject(
        bank=bank.subset(read),
        places=places,
        colours=_known(whole.colours, words.get("colours")),
        plain=_known(whole.plain, grounds),
        drawn=_known(whole.drawn, grounds),
        relations=tuple(each for each in RELATIONS if "positions" not in words or _said(each) in words["positions"]),
        views=_known(whole.views, words.get("views")),
        styles=_known(whole.styles, words.get("styles")),
    )
    for kind in ("colours", "plain", "drawn", "relations", "views", "styles"):
        if missing := [each for each in getattr(whole, kind) if each not in getattr(subject, kind)]:
            notes.append(f"left out: {', '.join(missing)}, which the model does not know")
    return replace(subject, notes=tuple(notes))


def _known(there: Iterable[T], known: Container[T] | None) -> tuple[T, ...]:
    return tuple(each for each in there if known is None or each in known)


def _said(relation: Relation) -> str:
    """As a table of words has it: "to the left of"."""
    return RELATION_WORDINGS[relation][0].replace("{}", "").strip()


def _is_flat(look: Look) -> bool:
    return look.style == "flat"


def _left_out(what: str, number: int) -> list[str]:
    return [f"left out: {number} {what}"] if number else []
