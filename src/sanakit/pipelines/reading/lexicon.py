"""The words of one language: things, and the small words around them, each to what it is in English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sanakit.pipelines.reading.emoji import NUMBERS
from sanakit.pipelines.reading.words import Noun, Words

Kind = Literal["article", "number", "adjective", "noun", "relation", "word", "without", "drop", "unknown"]
_LONGEST = 5  # words of a phrase
_SHORTEST_STEM = 3
_LONGEST_COMPOUND = 40  # letters
_SIGN = "[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f々〇]"  # of what is written without spaces
_DIGITS = "[0-9０-９]"
UNSPACED = re.compile(f"(?:{_DIGITS}+(?={_SIGN}))?{_SIGN}(?:{_SIGN}|{_DIGITS})*")
_LETTER = "(?:[^\\W_]|[\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u200c\u200d])"  # marks are a part of them
_WORD = re.compile(f"{_LETTER}+[’']|{_LETTER}+(?:-{_LETTER}+)*|[^\\w\\s]")
_PLACES = ("above", "below", "in front of", "behind", "on", "in", "next to")  # moved, known to the model or not
_LESS = 0.3  # of a letter: a form that is only like the known one counts less, and so does a prompt in more pieces
_PLAIN = str.maketrans({"’": "'", "œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
BACKGROUND = Noun("background", "backgrounds")


@dataclass(frozen=True, slots=True)
class Piece:
    """A word or phrase of a prompt and what it is: ``text`` is English, or as it was where nobody knows."""

    kind: Kind
    text: str
    noun: Noun | None = None
    weight: float = 0.0  # letters that it stands for, a little less where it is a guess


class Lexicon:
    """One language.

    Args:
        language: its code.
        words: the model's table.
    """

    def __init__(self, language: str, words: Words) -> None:
        told = words.languages.get(language, {})
        self.adjectives_after = bool(told.get("adjectives_after"))
        self.relations_after = bool(told.get("relations_after"))
        self.numbers_after = bool(told.get("numbers_after"))
        self.negation_after = bool(told.get("negation_after"))
        self._endings: tuple[str, ...] = tuple(sorted(map(normal, told.get("endings", ())), key=len, reverse=True))
        self._compounds = bool(told.get("compounds"))
        self._colours = frozenset(words.content.get("colours", ())) | {"gray"}
        self._sizes = frozenset(words.content.get("sizes", ()))
        self._relations = frozenset(words.content.get("positions", ())).union(_PLACES if self.relations_after else ())
        self._entries: dict[str, Piece] = {}
        for name, noun in words.names_in(language):
            self._entries.setdefault(_key(name), Piece("noun", noun.name, noun))
        self._names = dict(self._entries)
        stems = {self._stem_of(name): name for name in reversed(self._names)}
        small = [
            (_key(word), self._small(english)) for english, theirs in told.get("words", {}).items() for word in theirs
        ]
        for word, piece in small:
            name = word if word in self._names else stems.get(self._stem_of(word), "")
            self._entries[word] = self._also_a_thing(word, piece, name, words)
        for english in ("a", "an", "the", *NUMBERS, *self._colours, *self._sizes):
            self._entries.setdefault(english, self._small("a" if english == "an" else english))
        for noun in words.nouns.values():  # an emoji's name among other words
            self._entries.setdefault(_key(noun.name), Piece("noun", noun.name, noun))
            self._entries.setdefault(_key(noun.plural), Piece("noun", noun.name, noun))
        self._take_colours_off()
        self._stems: dict[str, Piece] = {}
        for word in (*self._names, *(word for word, _ in small)):
            self._stems.setdefault(self._stem_of(word), self._entries[word])
        self._longest = max(map(len, self._entries), default=0)

    def read(self, prompt: str) -> list[Piece]:
        """The pieces of a prompt, in their order; a name alone is a name, even where it is a small word elsewhere."""
        if alone := self._names.get(_key(prompt)):
            return [replace(alone, weight=sum(map(str.isalpha, prompt)) - _LESS)]
        pieces: list[Piece] = []
        start = 0
        for run in UNSPACED.finditer(prompt):
            pieces += self._spaced(prompt[start : run.start()])
            pieces += self._unspaced(run[0])
            start = run.end()
        return [*pieces, *self._spaced(prompt[start:])]

    def _also_a_thing(self, word: str, piece: Piece, name: str, words: Words) -> Piece:
        """A colour with the thing that is called like it: a rose, an orange, a coffee."""
        if piece.text not in self._colours:
            return piece
        if name and word.startswith(name):
            return replace(piece, noun=self._names[name].noun)
        return piece if UNSPACED.search(word) else replace(piece, noun=words.nouns.get(piece.text))

    def _take_colours_off(self) -> None:
        """A "roter Apfel" is an apple in red, and an "Apfel" is one too: a colour is no part of the name."""
        colours = {word: piece.text for word, piece in self._entries.items() if piece.text in self._colours}
        for word, piece in list(self._names.items()):
            for bare, may_name in self._without_colours(word, colours, piece.text):
                if may_name and bare not in self._entries:
                    self._names[bare] = self._entries[bare] = piece
                known = self._entries.get(bare)
                if known and known.noun == piece.noun and self._entries.get(word) == piece:
                    del self._entries[word], self._names[word]

    def _without_colours(self, name: str, colours: Mapping[str, str], english: str) -> Iterator[tuple[str, bool]]:
        """A name without its colour, which of the English name is a part of it; whether that may be a name for sure.

        Of one sign it may be a part of the word: a "白菜" is no "菜" in white.
        """
        unspaced = UNSPACED.search(name) is not None
        for word in sorted(colours, key=len, reverse=True):
            if colours[word] in english.split():
                continue
            space = "" if unspaced else " "
            if (unspaced or not self.adjectives_after) and name.startswith(word + space):
                rest = name[len(word) :].strip()
            elif (unspaced or self.adjectives_after) and name.endswith(space + word):
                rest = name[: -len(word)].strip()
            else:
                continue
            if rest:
                yield rest, not unspaced or len(word) > 1
                return

    def _small(self, english: str) -> Piece:
        if not english:
            return Piece("drop", "")
        if english in ("a", "the"):
            return Piece("article", english)
        if english in NUMBERS:
            return Piece("number", english)
        if english == "without":
            return Piece("without", english)
        if english in self._colours or english in self._sizes:
            return Piece("adjective", english)
        if english == "background":
            return Piece("noun", english, BACKGROUND)
        return Piece("relation" if english in self._relations else "word", english)

    def _stem_of(self, phrase: str) -> str:
        return " ".join(map(self._stem, phrase.split(" ")))

    def _stem(self, word: str) -> str:
        shortest = 1 if word[:1] >= "\u1100" else _SHORTEST_STEM  # a Korean sign is a syllable
        for ending in self._endings:
            if word.endswith(ending) and len(word) - len(ending) >= shortest:
                return word[: -len(ending)]
        return word

    def _spaced(self, text: str) -> Iterator[Piece]:
        words = _WORD.findall(text)
        at = 0
        while at < len(words):
            count, piece = self._longest_at([normal(word) for word in words[at : at + _LONGEST]])
            letters = sum(len(word) for word in words[at : at + count] if word[0].isalnum())
            if piece is None:
                yield Piece("unknown", words[at])
            else:
                yield Piece(piece.kind, piece.text, piece.noun, letters - piece.weight - _LESS)
            at += count

    def _longest_at(self, words: list[str]) -> tuple[int, Piece | None]:
        """How many words the next piece takes, and the piece, whose weight is what is to be taken off."""
        for count in range(len(words), 0, -1):
            if piece := self._entries.get(" ".join(words[:count])):
                return count, piece
        for count in range(len(words), 0, -1):
            stem = self._stem_of(" ".join(words[:count]))
            if piece := self._entries.get(stem) or self._stems.get(stem):
                return count, replace(piece, weight=_LESS)
        return 1, self._head_of(words[0]) if self._compounds else None

    def _head_of(self, word: str) -> Piece | None:
        """What a compound is: a "Spielzeugauto" is an "Auto"."""
        for start in range(2, min(len(word), _LONGEST_COMPOUND) - 3):
            for known, tail in ((self._entries, word[start:]), (self._stems, self._stem(word[start:]))):
                if len(tail) > _SHORTEST_STEM and (piece := known.get(tail)) is not None and piece.kind == "noun":
                    return replace(piece, weight=float(start))
        return None

    def _unspaced(self, text: str) -> Iterator[Piece]:
        at, unknown, after_noun = 0, "", False
        while at < len(text):
            lengths = range(min(self._longest, len(text) - at), 0, -1)
            count = next((count for count in lengths if normal(text[at : at + count]) in self._entries), 1)
            piece = self._entries.get(normal(text[at : at + count]))
            if piece is None or (
                piece.kind == "relation" and count == 1 and not after_noun and len(unknown) < 2
            ):  # a part of some word
                unknown += text[at : at + count]
            else:
                if unknown:
                    yield Piece("unknown", unknown)
                unknown, after_noun = "", piece.kind == "noun" or (after_noun and piece.kind == "drop")
                yield replace(piece, weight=count - _LESS)
            at += count
        if unknown:
            yield Piece("unknown", unknown)


def _key(text: str) -> str:
    """A name as its words would be read in a prompt."""
    return normal(text) if UNSPACED.search(text) else " ".join(map(normal, _WORD.findall(text)))


def normal(word: str) -> str:
    """Small letters, and of Latin, Greek and Cyrillic ones no accents: ``Äpfel`` is ``apfel``, ``cœur`` ``coeur``."""
    folded = unicodedata.normalize("NFKC", word).casefold().translate(_PLAIN)
    if UNSPACED.search(folded) or "\uac00" <= folded[:1] <= "\ud7a3":
        return folded
    parts = unicodedata.normalize("NFD", folded)
    return "".join(part for part in parts if not unicodedata.combining(part))
