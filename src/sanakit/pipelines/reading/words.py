"""The words that a model was trained on: the file ``words.json`` of its folder, which few models have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

_ONE_AND_MANY = ("fish", "deer", "sheep", "moose", "elk", "bison", "shrimp", "squid")
SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
# Words that say nothing of the picture, or that everybody puts around what does.
_SMALL = """
a about above according across actually add aesthetic after again against ago all almost alone already also although
always among amount an and anime another answer any anybody anyone anything anyway are around art artwork as ask asked
asks at away back background be beautiful became because become becomes been before begin behind being believe below
beneath besides best better between beyond bit both bottom brief bright bring business but by call called came can
can't care case center centre certain certainly change choose clean clear close come comes coming complete composition
concept could course create curious cute day days dear decide decided describe describing detail detailed details did
different difficult digital discussed do does doesn't dof doing don't done down dramatic draw drawing during each
early easily easy either else empty enough entire entirely especially even evening ever every everybody everyone
everything exactly example excited fact failed fancy far favor favour feel few final finally find fine first five
focus following for form found four free friend friendly friends from front full fully further gave general generate
get gets getting give given gives giving go goes going gone good got grateful great grey guess had half hand happen
happy hard has have having hd hdr he heard hello help her here herself hey hi high higher him himself his hope hour
hours how however hyperrealistic i i'd i'm idea ideal if illustration image imagine important in include including
indeed inside instead interesting into is isn't it it's its just keep kept kind kindly knew know known last late later
least leave left less let light lighting like little live long longer longest look looked looking looks lot lots love
lovely loves made main make makes making many may me mean meant medium middle might million mind mine minute minutes
moment month months more morning most mostly much must my myself name named natural near nearly necessary need needed
needs neither never new next nice no nobody none nor normal not nothing now obviously of off often okay old older on
once one ones only onto or order ordinary other others otherwise ought our out outside over overall own painting part
particular particularly past per perfect perhaps photo photograph photography photorealistic picture place placed
plain plan please point possible possibly present pretty print printed probably promise promised proper put putting
quality question quick quickly quiet quite raining rather ready real realistic really reason regards remember render
rendered rendering request require resolution rest result right said same say saying says scene second see seem seems
seen sees self send sense set seven several shall sharp she short should show showing shown shows side sided similar
simple simpler since single sit sits sitting six size sketch slightly slowly so soft some somebody someone something
sometimes soon sorry sort special specific stand standing stands start started state stay still stop style such
suddenly suppose sure surely take taken takes talk talking teach tell ten than thank thanks that that's the their them
then there there's therefore these they thing things think thinking third this those thought three through throughout
time times tiny to today together told tomorrow tonight too took top total toward towards trending tried true truly
try trying turn twice two type typical uhd ultra under understand unless until up upon us use used useful using usual
usually various vector very view wait waiting wallpaper want wanted wants was watercolour way we week weeks well went
were what whatever when whenever where wherever whether which while who whole whose why will wish with within without
wonder wonderful wondering word words work worked working works world worth would write written wrong year years yes
yesterday yet you young your yourself
"""
FUNCTION_WORDS = frozenset(_SMALL.split())


@dataclass(frozen=True, slots=True)
class Noun:
    """The English name of a thing; both forms are the same, or in "loaves of bread" nearly so, without a singular."""

    name: str
    plural: str

    @property
    def is_mass(self) -> bool:
        """Whether no article stands before one of it, as in captions: bread, jeans."""
        if self.name == self.plural:
            return not self.name.endswith(_ONE_AND_MANY)
        return self.plural.endswith(f" of {self.name}")


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
        return tuple(
            dict.fromkeys([*self.languages, *(c for t in self.content.get("things", ()) for c in t.get("names", {}))])
        )

    @cached_property
    def scripts(self) -> Mapping[str, set[int]]:
        """Of each language, see `scripts`, by the first names in it."""
        return {code: scripts("".join(name for name, _ in islice(self.names_in(code), 50))) for code in self.codes}


_KINDS = (
    "colours", "numbers", "sizes", "positions", "views", "styles", "places", "grounds", "people", "motions", "speeds",
    "other_words",
)  # fmt: skip


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
