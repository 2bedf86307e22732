"""Prompts as people write them: nouns of other languages, bare emoji, and long friendly letters about one thing.

Each row is a share of its base row: the same things, the same seeds, in the plainest English.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from sanakit.evaluation.worlds.prompt_sets import PromptSets, shuffled
from sanakit.evaluation.worlds.questions import Asked, Question
from sanakit.worlds.banks.things import Thing

LANGUAGES: Mapping[str, str] = {
    "zh": "Chinese", "de": "German", "es": "Spanish", "fr": "French", "ja": "Japanese", "pt": "Portuguese",
    "it": "Italian", "ru": "Russian", "ko": "Korean",
}  # fmt: skip

# Written for this measurement, of 30 to 70 words; training has others, and never these.
_LETTERS = (
    "We are putting together a little memory game for our grandparents, and the only card that is still missing is the "
    "one with {}. Whatever you come up with will be fine, as long as they can tell what it is without their glasses.",
    "Could I ask you a favour? My son has been talking about {} since breakfast, and I promised him that we would look "
    "at one together this evening before he goes to bed. Something gentle and not too busy would be ideal.",
    "For the cover of our school newspaper the children voted, and with a large majority they decided on {}. Please "
    "think of something that still works when it is printed rather small on cheap paper, and thanks from all of us.",
    "I teach a beginners' course on Tuesday nights and need a flash card that shows {}, so that the students can say "
    "the word aloud. It need not be fancy at all; clarity matters far more to me than any kind of decoration.",
    "Yesterday I tried to draw {} myself and failed badly, so now I hope that you can do better than I did. Take "
    "whatever approach you like, only make certain that nobody has to guess what they are looking at, please.",
    "It is raining, we are bored, and somebody had the idea that we should collect one picture for every letter of the "
    "alphabet. We have reached the point where we need {}. Would you draw it for us? We are already quite curious!",
    "Thanks again for last time, everybody in the office loved it. Today's wish is a lot simpler: {}, that is really "
    "all there is to it. If it looks as good as the previous one I shall owe you a very large coffee.",
    "On my desk there is an empty frame that has been waiting for the right picture for months, and this morning it "
    "came to me: it has to be {}. Nothing dramatic, just that, shown plainly and with a bit of love for detail.",
    "Our tiny museum opens in three weeks and the sign next to the entrance still lacks its picture. According to the "
    "plan it should show {}. Visitors will see it from across the street, so please avoid whatever might confuse them.",
    "You know how some words make you smile for no reason at all? For me it is this one, and so I would be very "
    "grateful for a picture with {} in it, which I could look at whenever the day becomes too long or too grey.",
    "I am not good at describing things, so I will keep this part brief: what I am after is {}. The rest I leave to "
    "you entirely, since you surely have better taste than I do, and I trust that it will turn out lovely.",
    "Dear team, as discussed on the phone we still require one illustration for page twelve of the brochure. The motif "
    "is {}. Please deliver it in the usual way and let me know should anything about this request be unclear. Regards.",
)  # fmt: skip


def written_rows(sets: PromptSets, languages: Mapping[str, str] = LANGUAGES) -> list[Question]:
    """The rows of `LANGUAGES` and of emoji with their base, and the row of long prompts with its base."""
    return [*_nouns(sets, languages), *_long(sets)]


def _nouns(sets: PromptSets, languages: Mapping[str, str]) -> list[Question]:
    things = sets.subject.bank.things
    there = [code for code in languages if any(code in thing.names for thing in things.values())]
    ways: dict[str, Callable[[Thing], str | None]] = {languages[code]: _named_in(code) for code in there}
    ways["emoji alone"] = lambda thing: thing.emoji
    # Only nouns that can be said in all of these ways, and in none of them as in English.
    names = [name for name, thing in things.items() if all(_is_foreign(say(thing), name) for say in ways.values())]
    rng = np.random.default_rng((sets.seed, 0xF0E))
    found = sets.single_prompts("nouns", shuffled(names, rng), sets.numbers.nouns)
    if not found:
        return []
    base = Question(name="nouns in English", answers=("things",), asked=tuple(asked for _, asked in found))
    rows = [
        replace(base, name=way, base=base.name, asked=tuple(replace(a, prompt=say(things[n]) or n) for n, a in found))
        for way, say in ways.items()
    ]
    return [base, *rows]


def _long(sets: PromptSets) -> list[Question]:
    rng = np.random.default_rng((sets.seed, 0x10E6))
    found = sets.single_prompts("long", shuffled(sets.subject.names, rng), sets.numbers.long)
    if not found:
        return []
    base = Question(name="short prompts", answers=("things",), asked=tuple(asked for _, asked in found))
    letters = [list(shuffled(_LETTERS, rng)) for _ in range(-(-len(found) // len(_LETTERS)))]
    texts = [text for turn in letters for text in turn]
    asked = tuple(_wrapped(one, text) for one, text in zip(base.asked, texts, strict=False))
    return [base, replace(base, name="long prompts", base=base.name, asked=asked)]


def _wrapped(asked: Asked, letter: str) -> Asked:
    return replace(asked, prompt=letter.format(asked.prompt))


def _named_in(code: str) -> Callable[[Thing], str | None]:
    return lambda thing: thing.names.get(code)


def _is_foreign(said: str | None, name: str) -> bool:
    return said is not None and said.casefold() != name.casefold()
