"""What a data set on disk is to the rest of sanakit: samples in a fixed order, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Layout = Literal["folder", "jsonl", "csv", "json", "parquet", "imagefolder", "wids", "features"]
Reason = Literal[
    "undecodable",
    "too_large",
    "too_small",
    "too_short",
    "empty_caption",
    "missing_caption",
    "missing_image",
    "duplicate_key",
    "bad_record",
    "bad_shard",
    "outside",
]
MAIN_SOURCE = "prompt"  # SANA's name of the caption that came with the picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """One text about a picture."""

    source: str  # who wrote it: "prompt", "InternVL2-26B", a column of a table, ...
    text: str
    score: float | None = None  # of an image-text scorer; higher is better


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFacts:
    """What a clip has beside a picture."""

    num_frames: int  # of its own, as its header says or lets expect
    fps: float  # frames a second, on average

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A picture (or its latent) or a clip with its captions, without its pixels."""

    key: str  # unique in its data set
    width: int  # pixels, upright (EXIF orientation applied); known without decoding the whole picture
    height: int
    captions: tuple[Caption, ...]  # "prompt" first if there is one, the others by the name of their source
    clip: ClipFacts | None = field(default=None, repr=False)  # None: a picture; no part of what tells old builds apart


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Problem:
    """Something in a data set that cannot be used, or not wholly. They are ordered by key."""

    key: str  # of the sample, or the name of the file, relative to the data set
    reason: Reason
    detail: str  # one sentence
    used: bool = False  # the sample, or what is told of, is used all the same
