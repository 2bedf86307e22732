"""Long and friendly prompts, and prompts with tags: what people write around the words that count.

None of it says anything of the picture that is not true of every picture here.
"""

from __future__ import annotations

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.casting import pick
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.phrases import is_default, wordings

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
# Sentences that are true of every picture, or ask for nothing that can be seen.
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
    "masterpiece", "high resolution", "cute", "simple", "professional", "centered", "well lit", "vivid colours",
    "highly detailed", "clear", "studio quality",
)  # fmt: skip
_KEYWORD_SHARE = 0.3  # of the prompts with tags have a keyword of the thing among them


def long_prompt(scene: Scene, core: str, rng: Generator, split: Split) -> str:
    """30 to 70 words around what is to be seen; the core stands near the start, seldom at the end."""
    sentences = [pick(wordings(_OPENINGS, split), rng).format(core)]
    num_words = rng.integers(_MIN_WORDS, _MAX_WORDS - 12)
    others = list(rng.permutation(len(_SENTENCES)))
    pool = wordings(_SENTENCES, split)
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
    tags = [_TAGS[number] for number in rng.permutation(len(_TAGS))[: 1 + int(rng.integers(4))]]
    keywords = [
        word for thing in scene.objects[:1] if thing.name in bank.things for word in bank.things[thing.name].keywords
    ]
    if scene.kind == "single" and keywords and rng.random() < _KEYWORD_SHARE:
        tags.insert(0, pick(keywords, rng))
    return ", ".join([core, *tags])


def _num_words(sentences: list[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)
