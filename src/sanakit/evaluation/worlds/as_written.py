"""Prompts as people write them: phrases of other languages, bare emoji, and long friendly letters about one thing.

Each row is a share of its base row: the same things, the same seeds, in the plainest English.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sanakit.evaluation.worlds.phrasebook import MEANINGS, PHRASES
from sanakit.evaluation.worlds.prompt_sets import PromptSets, shuffled
from sanakit.evaluation.worlds.questions import Asked, Question
from sanakit.evaluation.worlds.subject import Subject
from sanakit.worlds.sampling.worded_scenes import Words, is_new

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


def written_rows(sets: PromptSets) -> list[Question]:
    """Phrases in English and in each language, nouns in English and as emoji, short and long prompts."""
    return [*_phrases(sets), *_emoji(sets), *_long(sets)]


def _phrases(sets: PromptSets) -> list[Question]:
    """All languages say the same; words that training never joins are not among them."""
    numbers = range(len(MEANINGS))
    known = [number for number in numbers if _is_known(MEANINGS[number], sets.subject) and not is_new(MEANINGS[number])]
    order = shuffled(known, np.random.default_rng((sets.seed, 0xF0E)))
    found = sets.prompts("phrases", ((number, MEANINGS[number]) for number in order), sets.numbers.nouns)
    if not found:
        return []
    asked = tuple(one for _, one in found)
    base = Question(name="phrases in English", answers=("things", "count", "colour"), asked=asked)
    rows = []
    for language, texts in PHRASES.items():
        said = tuple(replace(one, prompt=texts[number]) for number, one in found)
        rows.append(replace(base, name=language, base=base.name, asked=said))
    return [base, *rows]


def _emoji(sets: PromptSets) -> list[Question]:
    things, rng = sets.subject.bank.things, np.random.default_rng((sets.seed, 0xE70))
    names = [name for name, thing in things.items() if thing.emoji]
    words = ((things[name].emoji or name, Words(names=(name,))) for name in shuffled(names, rng))
    found = sets.prompts("nouns", words, sets.numbers.nouns)
    if not found:
        return []
    base = Question(name="nouns in English", answers=("things",), asked=tuple(asked for _, asked in found))
    signs = tuple(replace(asked, prompt=emoji) for emoji, asked in found)
    return [base, replace(base, name="emoji alone", base=base.name, asked=signs)]


def _long(sets: PromptSets) -> list[Question]:
    rng = np.random.default_rng((sets.seed, 0x10E6))
    words = ((name, Words(names=(name,))) for name in shuffled(sets.subject.names, rng))
    found = sets.prompts("long", words, sets.numbers.long)
    if not found:
        return []
    base = Question(name="short prompts", answers=("things",), asked=tuple(asked for _, asked in found))
    letters = [list(shuffled(_LETTERS, rng)) for _ in range(-(-len(found) // len(_LETTERS)))]
    texts = [text for turn in letters for text in turn]
    asked = tuple(_wrapped(one, text) for one, text in zip(base.asked, texts, strict=False))
    return [base, replace(base, name="long prompts", base=base.name, asked=asked)]


def _wrapped(asked: Asked, letter: str) -> Asked:
    return replace(asked, prompt=letter.format(asked.prompt))


def _is_known(words: Words, subject: Subject) -> bool:
    return set(words.names) <= set(subject.names) and words.colour in (None, *subject.colours)
