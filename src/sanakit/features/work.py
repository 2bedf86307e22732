"""What a stage wants of its data, and by whom features are computed: handed on together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.common.ranks import ALONE, Ranks
from sanakit.features.encoders import Encoders
from sanakit.features.identity import OnIdentity, any_identity
from sanakit.scoring.annotators.annotate import ANNOTATORS_VERSION, annotate_for_training


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """``resolutions`` in pixels, of which several give one stream with bins of all of them; samples of a micro-batch;
    the seed of the order, of windows and of the choice of captions; who says whether it is the right data. Of clips the
    lengths in frames, at one of the rates; pictures are among them where a length is 1."""

    resolutions: tuple[int, ...]
    batch_size: int
    seed: int
    frames: tuple[int, ...] = (1,)
    fps: tuple[float, ...] = (16.0,)
    patch: int = 1  # positions of a side of the latent in a token of the network
    on_identity: OnIdentity = any_identity


@dataclass(frozen=True, kw_only=True, slots=True)
class Painter:
    """A model that makes pictures for data: ``identity`` tells its weights and settings from any other's, ``open``
    reads them and gives a function from prompts and as many seeds to a picture each."""

    identity: str
    open: Callable[[], Callable[[Sequence[str], Sequence[int]], Sequence[Picture]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The encoders run on ``device``; every rank computes a share and tells of its own progress. ``painter`` is the
    model that training begins with, if it begins with one."""

    encoders: Encoders
    ranks: Ranks = ALONE
    device: str = "cpu"
    on_progress: OnProgress = no_progress
    painter: Painter | None = None
    annotation: str | None = None  # what is encoded of every picture, by an annotator's name; None: itself

    def shown(self, pictures: Sequence[Picture]) -> Sequence[Picture]:
        """What is encoded of pictures."""
        if self.annotation is None:
            return pictures
        return [annotate_for_training(picture, self.annotation) for picture in pictures]

    def rule(self, rule: str) -> str:
        """How pictures are made ready, for the keys of latents."""
        return rule if self.annotation is None else f"{rule}, {self.annotation} {ANNOTATORS_VERSION}"
