"""Words that a model was not trained on, and the nearest that it was."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sanakit.pipelines.reading.emoji import ONE_EMOJI
from sanakit.pipelines.reading.words import Words, scripts, tokens

_SHORT = 5  # letters: in shorter words every slip is another word
_LONG = 7
_ALIKE, _ALIKE_LONG = 0.85, 0.78  # share of letters from which a word may be a slip of the pen
_NUM_NEAREST = 3
_NUM_TOLD = 5  # words of one sentence
_LONGEST = 3  # words of a phrase


@dataclass(frozen=True, slots=True)
class UnknownWord:
    """A word as it stands in the prompt, and the nearest that the model knows, best first; none if there are none."""

    word: str
    nearest: tuple[str, ...]


def told(unknown: Sequence[UnknownWord], model: str) -> str:
    """One sentence about the words of a prompt; of many, those that something is near to come first."""
    if len(unknown) == 1:
        near = f"; nearest: {', '.join(unknown[0].nearest)}" if unknown[0].nearest else ""
        return f'{model} was not trained on "{unknown[0].word}"{near}'
    ordered = sorted(unknown, key=lambda each: not each.nearest)
    shown = [f'"{w.word}"' + (f" (nearest: {', '.join(w.nearest)})" if w.nearest else "") for w in ordered[:_NUM_TOLD]]
    others = len(unknown) - len(shown)
    more = f" and {others} other word{'s' if others > 1 else ''}" if others else ""
    return f"{model} was not trained on {', '.join(shown)}{more}"


def unknown_words(prompt: str, words: Words) -> list[UnknownWord]:
    """Every word of an English prompt that the model has not seen, in the prompt's order, each once."""
    found = dict.fromkeys([*_texts(prompt, words), *ONE_EMOJI.findall(prompt)])
    return [UnknownWord(word, tuple(nearest(word, words))) for word in found]


def _texts(prompt: str, words: Words) -> Iterator[str]:
    """Words and phrases; a keyword beside a thing that it belongs to is none of them."""
    said = tokens(prompt)
    names = {name for name in words.nouns if all(word in said for word in tokens(name))}
    at = 0
    while at < len(said):
        phrases = (phrase for phrase in _phrases(said, at) if phrase in words.untrained)
        phrase = next((phrase for phrase in phrases if not words.known.issuperset(phrase.split())), "")
        if phrase:
            yield phrase
            at += len(phrase.split())
            continue
        word = said[at]
        belongs = names.intersection(words.keywords.get(word, ()))
        if not (_is_known(word, words) or belongs):
            yield word
        at += 1


def _phrases(said: Sequence[str], at: int) -> Iterator[str]:
    for count in range(min(_LONGEST, len(said) - at), 1, -1):
        yield " ".join(said[at : at + count])


def _is_known(word: str, words: Words) -> bool:
    if word in words.known or word[0].isdigit() or (len(word) == 1 and scripts(word) <= {0}):
        return True
    parts = word.replace("’", "'").removesuffix("'s").split("-")
    return all(part in words.known for part in parts) or word.removesuffix("s") in words.known


def nearest(word: str, words: Words) -> Sequence[str]:
    """By what was prepared for it, what it is a keyword of, and how it is written."""
    if word in words.untrained:
        return words.untrained[word][:_NUM_NEAREST]
    single = word.removesuffix("s")
    for form in (word, single):
        if form in words.keywords:
            return words.keywords[form][:_NUM_NEAREST]
        if form in words.untrained:
            return words.untrained[form][:_NUM_NEAREST]
    plain = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    if len(plain) < _SHORT:
        return ()
    like = sorted(phrase for phrase in words.phrases if phrase[:1] == plain[0])
    return difflib.get_close_matches(plain, like, n=_NUM_NEAREST, cutoff=_ALIKE if len(plain) < _LONG else _ALIKE_LONG)
