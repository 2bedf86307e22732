"""A prompt as it was written, to the prompt that a model is told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sanakit.pipelines.reading.emoji import EMOJI, name_emoji
from sanakit.pipelines.reading.english import in_english
from sanakit.pipelines.reading.groups import colours_or_things, without_negated
from sanakit.pipelines.reading.lexicon import UNSPACED, Lexicon, Piece
from sanakit.pipelines.reading.unknown import UnknownWord, unknown_words
from sanakit.pipelines.reading.words import Words, scripts, tokens

_MOST_READ = 2000  # characters: text encoders cut prompts long before, and a reader must not be kept busy


@dataclass(frozen=True, slots=True)
class Reading:
    """What a prompt is told as, and the words of it that the model was not trained on."""

    text: str
    unknown: tuple[UnknownWord, ...]


class PromptReader:
    """Reads prompts with the words of a model. English is left as it is, letter by letter.

    Of a very long prompt the first 2000 characters are read, and the rest is left as it is.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._lexicon = lru_cache(maxsize=None)(lambda language: Lexicon(language, words))
        self.read = lru_cache(maxsize=256)(self._read)

    def _read(self, prompt: str) -> Reading:
        prompt, rest = prompt[:_MOST_READ], prompt[_MOST_READ:]
        text = name_emoji(prompt, self._words)
        text = self._in_english(text)
        unknown = unknown_words(text, self._words) if self._words.tells_unknown else ()
        return Reading(text + rest, tuple(unknown))

    def _in_english(self, text: str) -> str:
        """Another language is read where it knows more letters of the prompt than English does.

        Where it knows none of the things, it has to know most of what is around them.
        """
        bare = EMOJI.sub("", text)
        letters = sum(map(str.isalpha, bare))
        known = sum(len(word) for word in tokens(bare) if self._is_english(word))
        if known >= letters:
            return text
        best, best_pieces, best_lexicon = float(known), list[Piece](), None
        written = scripts(bare)
        for code in self._words.codes:
            if written.isdisjoint(self._words.scripts[code]):
                continue
            lexicon = self._lexicon(code)
            pieces = colours_or_things(lexicon.read(text), lexicon)
            found = sum(piece.weight for piece in pieces)
            if found > best and (
                any(piece.noun is not None for piece in pieces) or found > max(known + 3, letters / 2)
            ):
                best, best_pieces, best_lexicon = found, pieces, lexicon
        if best_lexicon is None:
            return text
        there = without_negated(best_pieces, best_lexicon)
        return in_english(there, best_lexicon, self._words.content.get("sizes", ())) or text

    def _is_english(self, word: str) -> bool:
        return word in self._words.english and not UNSPACED.search(word)
