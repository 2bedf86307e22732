"""Names of the emoji things in other languages, from the annotations of the Unicode CLDR.

The annotations name a picture ("red apple"), and a prompt names a thing ("apple"). Where an emoji of a thing is called
in English as the thing is here, its label in the other language is taken; else the keyword that its label ends or
begins with ("Kahler Baum" with "Baum"), unless another thing is called so. A label that says a colour names no thing,
and what stands after a comma is a remark ("रॉकेट, वाहन": rocket, vehicle). ``names.txt`` puts right what is wrong.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from sanakit.worlds.building.emoji.words import Entry, bare

_LANGUAGES = "ar bn cs da de el es fi fr hi hu id it ja ko nl no pl pt ro ru sv th tr uk vi zh zh-Hant"
LANGUAGES = tuple(_LANGUAGES.split())
_NOUN_FIRST = frozenset({"ar", "es", "fr", "id", "it", "pt", "ro", "th", "vi"})
_UNSPACED = frozenset({"ja", "ko", "th", "zh", "zh-Hant"})
_COLOURED = frozenset(["black", "blue", "brown", "gray", "green", "orange", "pink", "purple", "red", "white", "yellow"])
_COMMON = 24  # a keyword of more emoji than this says too little ("face", "red")


@dataclass(frozen=True, slots=True)
class _Annotation:
    label: str
    keywords: tuple[str, ...]


class Names:
    """Labels and keywords of every emoji in every language of the list."""

    def __init__(self, tarball: Path, entries: Sequence[Entry]) -> None:
        self._words = dict(_read(tarball))
        self._uses = {
            language: Counter(word.casefold() for note in notes.values() for word in note.keywords)
            for language, notes in self._words.items()
        }
        self._taken = {language: self._named(entries, language) for language in LANGUAGES}
        self._shared = {language: self._held_twice(entries, language) for language in LANGUAGES}

    def of(self, entry: Entry) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
        """The main name by language, and further ones."""
        main: dict[str, str] = {}
        more: dict[str, tuple[str, ...]] = {}
        for language in LANGUAGES:
            given = given_names().get((entry.name, language), ())
            found = [*given, *(self._alike if given else self._candidates)(entry, language)]
            if names := list(dict.fromkeys(name for one in found for name in _plain(one))):
                main[language] = names[0]
                if len(names) > 1:
                    more[language] = tuple(names[1:])
        return main, more

    def keywords(self, entry: Entry) -> tuple[str, ...]:
        """English keywords of its first emoji that are not its name already."""
        note = self._words["en"].get(entry.emoji[0]) if entry.emoji else None
        known = {entry.name, *(word for word, _ in entry.synonyms)}
        return tuple(word for word in note.keywords if word not in known) if note else ()

    def _candidates(self, entry: Entry, language: str) -> list[str]:
        """Names in one language, the best first."""
        alike = self._alike(entry, language)
        note = self._words[language].get(entry.emoji[0]) if entry.emoji else None
        if alike or note is None:
            return alike
        held = self._held(note, language)
        labels = [] if self._says_a_colour(entry) else [note.label]
        return [held, *labels] if held and held not in self._shared[language] else labels

    def _says_a_colour(self, entry: Entry) -> bool:
        """Of its emoji, in words that the thing itself has not: a "red apple" is an apple, a "green apple" one."""
        note = self._words["en"].get(entry.emoji[0]) if entry.emoji else None
        return note is not None and bool(_COLOURED & set(note.label.split()) - set(entry.name.split()))

    def _named(self, entries: Sequence[Entry], language: str) -> frozenset[str]:
        """Names that are sure."""
        sure = (given_names().get((entry.name, language), ()) or self._alike(entry, language) for entry in entries)
        return frozenset(name.casefold() for names in sure for name in names)

    def _held_twice(self, entries: Sequence[Entry], language: str) -> frozenset[str]:
        """Keywords that would name several things ("ball" of many games)."""
        notes = (self._words[language].get(entry.emoji[0]) for entry in entries if entry.emoji)
        uses = Counter(self._held(note, language) for note in notes if note is not None)
        return frozenset(word for word, number in uses.items() if word is not None and number > 1)

    def _alike(self, entry: Entry, language: str) -> list[str]:
        """Labels of its emoji that are called in English as the thing is here, by its name before its synonyms."""
        notes, english = self._words[language], self._words["en"]
        words = [entry.name.casefold(), *(word.casefold() for word, _ in entry.synonyms)]
        known = {english[emoji].label.casefold(): emoji for emoji in entry.emoji if emoji in notes and emoji in english}
        return [notes[known[word]].label for word in words if word in known]

    def _held(self, note: _Annotation, language: str) -> str | None:
        """A keyword that the label begins or ends with, where the language has its nouns; None if none is telling."""
        label, uses = note.label.casefold(), self._uses[language]
        if " " not in label and language not in _UNSPACED:
            return None
        at_head = label.startswith if language in _NOUN_FIRST else label.endswith
        heads = [word for word in note.keywords if at_head(word.casefold()) and word.casefold() != label]
        telling = [word for word in heads if uses[word.casefold()] <= _COMMON]
        free = [word for word in telling if word.casefold() not in self._taken[language]]
        return max(free, key=len, default=None)


def _plain(name: str) -> list[str]:
    """ "Arzt/Ärztin" is two names, and what stands in brackets is none."""
    parts = re.sub(r"\s*[(（][^)）]*[)）]", "", name).split("/")
    return [part.strip() for part in parts if part.strip() and not part.startswith("-")]


def _read(tarball: Path) -> Iterator[tuple[str, Mapping[str, _Annotation]]]:
    """(language, bare emoji -> its words), English among them."""
    wanted = {f"package/annotations/{language}/annotations.json": language for language in ("en", *LANGUAGES)}
    with tarfile.open(tarball, "r|gz") as archive:
        for member in archive:
            if (language := wanted.get(member.name)) and (file := archive.extractfile(member)) is not None:
                notes = json.load(file)["annotations"]["annotations"]
                yield language, {bare(emoji): _annotation(words) for emoji, words in notes.items() if "tts" in words}


def _annotation(words: Mapping[str, list[str]]) -> _Annotation:
    return _Annotation(re.split(r"\s*[,，]", words["tts"][0])[0], tuple(words.get("default", ())))


@lru_cache(maxsize=1)
def given_names() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """(thing, language) -> names of ``names.txt``, the main one first."""
    text = resources.files("sanakit").joinpath("worlds", "building", "emoji", "names.txt").read_text("utf-8")
    given: dict[tuple[str, str], tuple[str, ...]] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            thing, _, rest = line.partition(" : ")
            for pair in rest.split("; "):
                language, _, names = pair.partition("=")
                given[thing.strip(), language.strip()] = tuple(name.strip() for name in names.split("/"))
    return given
