"""The words that a model was trained on: the file ``words.json`` of its folder, which few models have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
# Words that say nothing of the picture, or that everybody puts around what does.
_SMALL = """
a an and any are as at be because been before being but by can could do does each for from had has have he her
here him his how i if in into is it its just like may me more most my near next no not now of off on one only
or our out over please she should show side so some than thank thanks that the their them then there these
they this those through to too up upon us very want was we were what when where which while who will with
would you your draw make create generate picture image photo photograph photography drawing illustration
painting art artwork render rendering scene view style look looks looking nice beautiful pretty lovely cute
good great simple clear clean detailed high quality best resolution sharp bright light lighting soft
background plain different both other another same two three four few several many alone together left right
above below under beneath behind front top bottom middle center centre love loves need needs give get gives
got go hello hi dear hey made making thing things kind kindly really ever always never again must might let
mine myself it's i'm i'd don't doesn't isn't there's that's can't shows showing seen sees see way lot lots bit
"""
FUNCTION_WORDS = frozenset(_SMALL.split())


@dataclass(frozen=True, slots=True)
class Noun:
    """The English name of a thing; both forms are the same where it cannot be counted."""

    name: str
    plural: str


@dataclass(frozen=True)
class Words:
    """One table; ``content`` is the file as it is, see `words_of` in ``worlds/words`` for what is in it."""

    content: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def nouns(self) -> Mapping[str, Noun]:
        """By their names."""
        return {thing["name"]: Noun(thing["name"], thing["plural"]) for thing in self.content.get("things", ())}

    @cached_property
    def emoji(self) -> Mapping[str, Noun]:
        """What each emoji is called, without signs of presentation and skin; also of things that nobody trained on."""
        unknown = {sign: Noun(name, f"{name}s") for sign, name in self.content.get("untrained_emoji", {}).items()}
        known = {
            sign: self.nouns[thing["name"]]
            for thing in self.content.get("things", ())
            for sign in thing.get("emoji", ())
        }
        return {plain_emoji(sign): noun for sign, noun in (unknown | known).items()}

    @cached_property
    def phrases(self) -> frozenset[str]:
        """Every English name, plural and synonym of a thing, in small letters."""
        found = set()
        for thing in self.content.get("things", ()):
            found |= {thing["name"], thing["plural"], *(word for pair in thing.get("synonyms", ()) for word in pair)}
        return frozenset(word.lower() for word in found)

    @cached_property
    def known(self) -> frozenset[str]:
        """Every English word that the model has seen, and those that say nothing of a picture."""
        texts = [*self.phrases, *_texts([self.content.get(name, ()) for name in _KINDS])]
        return FUNCTION_WORDS.union(word for text in texts for word in tokens(text))

    @cached_property
    def keywords(self) -> Mapping[str, Sequence[str]]:
        """Names of things by the words that belong to them: "fruit" to apple and banana."""
        found: dict[str, list[str]] = {}
        for thing in self.content.get("things", ()):
            for word in thing.get("keywords", ()):
                found.setdefault(word.lower(), []).append(thing["name"])
        return found

    @property
    def tells_unknown(self) -> bool:
        """False of a model that went on learning from other data: its table is no longer all that it knows."""
        return bool(self.content.get("tells_unknown", True))

    @property
    def untrained(self) -> Mapping[str, Sequence[str]]:
        """English words that the model never saw, with the nearest names that it did."""
        return self.content.get("untrained", {})

    @property
    def languages(self) -> Mapping[str, Mapping[str, Any]]:
        """Small words of other languages by code, see ``worlds/words/languages.json``."""
        return self.content.get("languages", {})

    @cached_property
    def english(self) -> frozenset[str]:
        """English words that are to be left as they are, known to the model or not; some mean a thing elsewhere."""
        return self.known.union(self.untrained, self.keywords, self.languages.get("en", {}).get("other", ()))

    def names_in(self, language: str) -> Iterator[tuple[str, Noun]]:
        """Things as they are called in a language."""
        for thing in self.content.get("things", ()):
            for name in thing.get("names", {}).get(language, ()):
                yield name, self.nouns[thing["name"]]

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Of all languages that something is known in."""
        return tuple(dict.fromkeys([*self.languages, *(c for t in self.content["things"] for c in t.get("names", {}))]))

    @cached_property
    def scripts(self) -> Mapping[str, set[int]]:
        """Of each language, see `scripts`, by the first names in it."""
        return {code: scripts("".join(name for name, _ in islice(self.names_in(code), 50))) for code in self.codes}


_KINDS = ("colours", "numbers", "sizes", "positions", "views", "styles", "places", "grounds", "people", "other_words")


def _texts(value: Any) -> Iterator[str]:
    """Every text in lists and in the values of mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    else:
        for each in value:
            yield from _texts(each)


def tokens(text: str) -> list[str]:
    """The words of a text in small letters, without marks."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())


def plain_emoji(sign: str) -> str:
    return SKIN_TONES.sub("", sign.replace("\ufe0f", "").replace("\ufe0e", ""))


def with_article(words: str) -> str:
    word = words.lower()
    vowel = word.startswith("hour") or (word[0] in "aeiou" and not word.startswith(("uni", "use", "ufo", "uku", "eu")))
    return f"{'an' if vowel else 'a'} {words}"


def scripts(text: str) -> set[int]:
    """Numbers of the scripts of letters: 0 Latin, 0x30 Chinese and Japanese, 0xac Korean, of others their block."""
    return {_script(ord(letter)) for letter in text if letter.isalpha()}


def _script(code: int) -> int:
    if code < 0x300:
        return 0
    if 0x3000 <= code < 0xA000:
        return 0x30
    return 0xAC if 0xAC00 <= code < 0xD800 else code >> 8
