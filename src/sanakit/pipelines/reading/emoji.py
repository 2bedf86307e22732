"""Emoji in a prompt to their names: 🍎🍎🍎 to "three apples", a dog and its bone to "a dog and a bone"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from sanakit.pipelines.reading.words import Noun, Words, plain_emoji, with_article

NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_NUMBER_OF = {count: word for word, count in NUMBERS.items()}
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_SIGN = (
    "[\U0001f1e6-\U0001f1ff\U0001f300-\U0001f3fa\U0001f400-\U0001faff"
    "\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299]"
)
_MARKS = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
_ONE = f"(?:{_FLAG}|[0-9#*]\ufe0f?\u20e3|{_SIGN}{_MARKS}(?:\u200d{_SIGN}{_MARKS})*)"
ONE_EMOJI = re.compile(_ONE)
EMOJI = re.compile(f"{_ONE}(?:\\s*{_ONE})*")
_WHOLE = re.compile("[\U0001f466-\U0001f469\U0001f474-\U0001f476\U0001f9d1-\U0001f9d4\U0001f3f3\U0001f3f4]")
_DETAILS = frozenset("\u2640\u2642\u27a1\U0001f9b0\U0001f9b1\U0001f9b2\U0001f9b3")  # man, woman, arrow, hair
_BEFORE = re.compile(r"(\S+)\s*$")
_AFTER_ARTICLE = re.compile(f"(?:\\b([Aa])n?\\s+)?({EMOJI.pattern})")


def name_emoji(prompt: str, words: Words) -> str:
    """The prompt with the emoji that the model knows in words; others stay."""
    if not EMOJI.search(prompt):
        return prompt
    text = _AFTER_ARTICLE.sub(lambda found: _named(found, words), prompt)
    return re.sub(r"\s+([,.!?;:])", r"\1", " ".join(text.split()))


def _named(found: re.Match[str], words: Words) -> str:
    """The names of signs that stand together; spaces around them, which are thinned out later."""
    article, text = found.groups()
    signs = [_known(sign, words) or sign for sign in ONE_EMOJI.findall(text)]
    runs = [(sign, len(list(run))) for sign, run in groupby(signs)]
    before = _BEFORE.search(found.string[: found.start()])
    word = "a" if article else before[1].lower() if before else ""
    names = [_counted(sign, count, word if index == 0 else "", words) for index, (sign, count) in enumerate(runs)]
    if article:  # as the name needs it: an apple
        names[0] = article + with_article(names[0])[1:]
    return f" {_joined(names)} "


def _known(sign: str, words: Words) -> Noun | None:
    """A sign of several parts, such as a black cat, is its first part where nobody knows the whole.

    Not so a family, somebody at work, and a flag: their first part is another thing.
    """
    plain = plain_emoji(sign)
    first, *others = plain.split("\u200d")
    if known := words.emoji.get(plain):
        return known
    return None if _WHOLE.match(first) and not _DETAILS.issuperset(others) else words.emoji.get(first)


def _counted(sign: Noun | str, count: int, before: str, words: Words) -> str:
    if isinstance(sign, str):
        return sign * count
    if count > 1:
        return f"{_NUMBER_OF.get(count, count)} {sign.plural}"
    if before in NUMBERS or (before.isdigit() and before != "1"):
        return sign.plural
    described = before in ("a", "an", "the", "one", "1", "my", "your") or before in words.content.get("colours", ())
    return sign.name if described or sign.is_mass else with_article(sign.name)


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
