"""Long and friendly prompts, and prompts with tags: what people write around the words that count.

None of it says anything of the picture that is not true of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.casting import pick
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, NUMBER_WORDS, SIZE_WORDS
from sanakit.worlds.telling.phrases import has_rendered, is_default, wordings

_MIN_WORDS, _MAX_WORDS = 30, 70

_OPENINGS = (
    "I would love a lovely picture of {}, please.",
    "Hello! Could you please draw {} for me?",
    "Hi there, I am looking for a nice, clear picture of {}.",
    "Please create an image that shows {}.",
    "Can you make me a beautiful picture of {}?",
    "I need an image of {} for something that I am working on.",
    "We are looking for a friendly and simple picture of {}.",
    "My daughter would be so happy about a picture of {}!",
    "Today I would like to see {}.",
    "Would you be so kind as to make a picture with {} in it?",
    "Good morning! Please show me {}.",
    "What I have in mind is {}.",
    "Imagine {}.",
    "The picture shows {}.",
    "This is a high-quality picture of {}.",
    "I have always wanted a picture of {}, and today is the day.",
    "For a small project I need {}, drawn with care.",
    "Let us start with {}.",
    "Generate a detailed, charming picture of {}.",
    "A lovely and cheerful picture of {}, made with a lot of care.",
)
# Sentences that are true of every picture but for `_UNTRUE`, or ask for nothing that can be seen.
_SENTENCES = (
    "Please keep it simple and easy to recognise.",
    "It should be clear and bright, with clean edges.",
    "High quality, soft light and pleasant colours, please.",
    "Please take your time and make it as pretty as you can.",
    "It does not have to be perfect, just nice to look at.",
    "The colours should look fresh and friendly.",
    "Everything should be sharp and well lit.",
    "Make it look cheerful and warm.",
    "I want to be able to see at a glance what it is.",
    "Please do not add any text or letters.",
    "It would mean a lot to me.",
    "Thank you very much in advance!",
    "Thanks a lot, you are great at this.",
    "It is for a little surprise.",
    "It is for a presentation next week.",
    "I will show it to my friends and family.",
    "The whole thing should be visible and well composed.",
    "I like a calm and tidy composition.",
    "Use smooth shapes and a clean look.",
    "Make it cute, if you can.",
    "A little charm would be wonderful.",
    "The mood should be happy and relaxed.",
    "Please make sure that it fills the picture nicely.",
    "Detailed, beautiful, high resolution.",
    "I do not mind how exactly it looks, as long as it is easy to tell what it is.",
    "Nothing fancy, just something that makes people smile.",
    "Good light and a balanced composition would be perfect.",
    "It should look professional and polished.",
    "If it turns out well, I would be delighted.",
    "Surprise me with the details.",
)
_ALONE = (
    "There should be nothing else in it.",
    "Nothing else should be in the picture.",
    "Please leave out everything else.",
    "No other objects, please.",
)
_TAGS = (
    "high quality", "soft light", "detailed", "beautiful", "sharp focus", "4k", "best quality", "clean", "bright",
    "masterpiece", "high resolution", "cute", "simple", "professional", "well lit", "vivid colours",
    "highly detailed", "clear", "studio quality",
)  # fmt: skip
_KEYWORD_SHARE = 0.3  # of the prompts with tags have a keyword of the thing among them
# What some scenes contradict.
_UNTRUE: Sequence[tuple[tuple[str, ...], Callable[[Scene, Bank], bool]]] = (
    (("draw", "drawn"), has_rendered),
    (("fills",), lambda scene, bank: scene.size != "big"),
    (("whole thing",), lambda scene, bank: scene.count > 1),  # one may stand before another
    (("cheerful", "mood"), lambda scene, bank: any(part == "expression" for part, _ in scene.objects[0].parts)),
    (
        ("bright", "well lit", "good light"),
        lambda scene, bank: bool({"black", "night"} & set(scene.ground.name.split())),
    ),
)
# Words of captions that stand for more than a thing.
_TOLD_APART = {
    *COLOURS, *BACKGROUNDS, *NUMBER_WORDS.values(), *(word for words in SIZE_WORDS.values() for word in words),
    "grey", "gold", "golden", "silver", "above", "behind", "below", "in", "left", "on", "over", "right", "under", "up",
}  # fmt: skip


def long_prompt(scene: Scene, core: str, rng: Generator, bank: Bank, split: Split) -> str:
    """30 to 70 words around what is to be seen; the core stands near the start, seldom at the end."""
    sentences = [pick(true_of(scene, wordings(_OPENINGS, split), bank), rng).format(core)]
    num_words = rng.integers(_MIN_WORDS, _MAX_WORDS - 12)
    others = list(rng.permutation(len(_SENTENCES)))
    pool = true_of(scene, wordings(_SENTENCES, split), bank)
    if is_default(scene.ground) and rng.random() < 0.4:
        sentences.append(pick(wordings(_ALONE, split), rng))
    while _num_words(sentences) < num_words:
        number = others.pop()
        if number < len(pool):
            sentences.append(pool[number])
    if rng.random() < 0.15:  # as if one came to the point at last
        sentences = [*sentences[1:], sentences[0]]
    return " ".join(sentences)


def tagged(scene: Scene, core: str, rng: Generator, bank: Bank, split: Split) -> str:
    """ "a red apple, high quality, soft light"."""
    pool = true_of(scene, _TAGS, bank)
    tags = [pool[number] for number in rng.permutation(len(pool))[: 1 + int(rng.integers(4))]]
    keywords = [word for thing in scene.objects[:1] for word in own_keywords(thing.name, bank)]
    if scene.kind == "single" and keywords and rng.random() < _KEYWORD_SHARE:
        tags.insert(0, pick(keywords, rng))
    return ", ".join([core, *tags])


def true_of(scene: Scene, texts: Sequence[str], bank: Bank) -> Sequence[str]:
    """Those that the scene does not contradict."""
    untrue = [words for words, is_so in _UNTRUE if is_so(scene, bank)]
    return [text for text in texts if not any(_says(text, word) for words in untrue for word in words)]


@lru_cache(maxsize=4096)
def own_keywords(name: str, bank: Bank) -> tuple[str, ...]:
    """Keywords of a thing that name no other thing, colour, number, size, side or ground; of a person none."""
    if name not in bank.things:
        return ()
    grounds = {word for place in bank.places.values() for word in place.name.lower().split()}
    return tuple(
        keyword
        for keyword in bank.things[name].keywords
        if bank.called.get(keyword.lower(), frozenset()) <= {name}
        and not (_TOLD_APART | grounds) & set(re.findall(r"\w+", keyword.lower()))
    )


def _says(text: str, words: str) -> bool:
    return re.search(rf"\b{words}\b", text.lower()) is not None


def _num_words(sentences: list[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)
