"""What is asked of a model: prompts, each with a scene that fulfils it and one that does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sanakit.worlds.scenes.description import Scene

Answer = Literal["things", "count", "colour", "relation", "ground", "place"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One picture to draw. ``truth`` shows what the prompt asks for, ``wrong`` all of it but one word."""

    prompt: str
    seed: int
    truth: Scene
    wrong: Scene | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One row: a picture is right if the ``answers`` that its scene asks for are all yes.

    ``num_new`` counts the combinations of words of this kind that training never shows, of which the prompts are a
    random sample; None where the words are all known to training. With ``seeds_each`` > 1 that many prompts in turn are
    one, and it is right if ``_ENOUGH`` of its pictures are. ``base`` names the row of the same things in plain English.
    """

    name: str
    answers: tuple[Answer, ...]
    asked: tuple[Asked, ...]
    num_new: int | None = None
    seeds_each: int = 1
    base: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """A row that counts the pictures of other rows."""

    name: str
    rows: tuple[str, ...]


ENOUGH = 0.8  # of the seeds of a name, for the name to be one that is drawn right
