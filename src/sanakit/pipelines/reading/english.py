"""Pieces of another language to an English prompt in the order and the forms of English."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sanakit.pipelines.reading.lexicon import BACKGROUND, Lexicon, Piece
from sanakit.pipelines.reading.words import Noun, with_article

_PREPOSITIONS = ("on", "in", "with", "against", "before", "in front of")


@dataclass(slots=True)
class _Group:
    """A noun with what belongs to it, wherever that stood."""

    article: str = ""
    number: str = ""
    adjectives: list[str] = field(default_factory=list)
    noun: Noun | None = None

    def text(self, sizes: Iterable[str]) -> str:
        described = sorted(self.adjectives, key=lambda word: word not in sizes)
        if self.noun is None:
            return " ".join(word for word in (self.number, *described) if word)
        if self.number:
            return " ".join([self.number, *described, self.noun.plural])
        words = " ".join([*described, self.noun.name])
        if self.article == "the":
            return f"the {words}"
        return words if self.noun.is_mass else with_article(words)

    @property
    def is_empty(self) -> bool:
        return self.noun is None and not (self.adjectives or self.number)


@dataclass(slots=True)
class _Part:
    text: str
    is_noun: bool = False
    is_relation: bool = False


def in_english(pieces: Iterable[Piece], lexicon: Lexicon, sizes: Iterable[str]) -> str:
    """ "un gato negro" to "a black cat", "狗左边的猫" to "a cat to the left of a dog"."""
    parts: list[_Part] = []
    group = _Group()
    said_again: Noun | None = None  # "cat 猫" is one cat

    def close() -> None:
        nonlocal group, said_again
        if not group.is_empty:
            if group.noun is BACKGROUND and (not parts or parts[-1].text not in _PREPOSITIONS):
                parts.append(_Part("on"))
            is_thing = group.noun is not None and group.noun is not BACKGROUND
            if is_thing and group.noun is said_again and not (group.number or group.adjectives or group.article):
                group = _Group()
                return
            said_again = group.noun
            parts.append(_Part(group.text(sizes), is_noun=is_thing))
        group = _Group()

    for piece in pieces:
        complete = group.noun is not None
        match piece.kind:
            case "article":
                if complete:
                    close()
                group.article = piece.text
            case "number":
                if complete and not lexicon.numbers_after:
                    close()
                group.number = piece.text
            case "adjective":
                if complete and not lexicon.adjectives_after:
                    close()
                group.adjectives.append(piece.text)
            case "noun":
                if complete:
                    close()
                group.noun = piece.noun
            case "relation" | "word" | "unknown":
                close()
                said_again = None
                is_thing = piece.kind == "unknown" and piece.text[:1].isalpha()
                parts.append(_Part(piece.text, is_noun=is_thing, is_relation=piece.kind == "relation"))
            case "drop" | "without":
                pass
    close()
    if lexicon.relations_after:
        _move_relations(parts)
    text = " ".join(part.text for part in parts)
    for mark in (",", ".", "!", "?", ";", ":"):
        text = text.replace(f" {mark}", mark)
    return text.strip(" ,;:")


def _move_relations(parts: list[_Part]) -> None:
    """Languages that say the side after the second thing: A B LEFT, or B LEFT A, to A LEFT B."""
    for at, part in enumerate(parts):
        if not part.is_relation or at == 0 or not parts[at - 1].is_noun:
            continue
        if at + 1 < len(parts) and parts[at + 1].is_noun:
            parts[at - 1], parts[at + 1] = parts[at + 1], parts[at - 1]
        elif at > 1 and parts[at - 2].is_noun:
            parts[at - 1], parts[at] = parts[at], parts[at - 1]
