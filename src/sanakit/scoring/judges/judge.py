"""What a judge is: a function of pictures and texts, with a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from sanakit.scoring.named import NamedNetwork
from sanakit.scoring.scorers import ImageTextScorer

Score = tuple[float, ...]
"""Numbers that are compared one after the other; more is better."""


class Judge(NamedNetwork, Protocol):
    """Says how well pictures are what a text asks for."""

    def check(self, text: str) -> None:
        """Raises RequestError where pictures of this text cannot be judged."""
        ...

    def __call__(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Score]:
        """One score for each picture with the text at the same place."""
        ...


class SimilarityJudge:
    """A scorer as a judge: its number is the score."""

    def __init__(self, scorer: ImageTextScorer) -> None:
        self.scorer = scorer
        self.name, self.weights_hash, self.resize_rule = scorer.name, scorer.weights_hash, scorer.resize_rule

    def check(self, text: str) -> None:
        """Every text has a similarity."""

    def __call__(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Score]:
        return [(score,) for score in self.scorer.score(images, texts)]
