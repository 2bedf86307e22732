"""What a data set holds, in numbers: sizes, aspect ratios over SANA's bins, captions and scores, what is wrong."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from sanakit.common.aspect_ratio import aspect_ratio_bins
from sanakit.data.caption_choice import PowerLawChoice
from sanakit.data.fates import never_drawn
from sanakit.data.samples import Caption, Problem, Sample
from sanakit.data.sources.data_source import DataSource

READ_TOKENS = 300  # of a caption, by models of SANA; models/text/text_encoder.py


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Least, middle and greatest of some numbers."""

    smallest: float
    middle: float
    largest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSummary:
    """The captions of one source."""

    source: str
    num_captions: int
    mean_words: float
    scores: Spread | None  # None: none has a score
    num_scores: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """A data set in numbers."""

    path: str
    layout: str
    caption_files: tuple[str, ...]  # tables and texts that were read, many of a kind as "*.txt"
    holds: str  # "pictures", "clips", "pictures and clips" or "latents"
    num_samples: int
    width: Spread | None  # pixels; None without samples
    height: Spread | None
    megapixels: Spread | None
    seconds: Spread | None  # of clips; None: there are none
    fps: Spread | None  # frames a second of clips
    aspect_ratios: dict[str, int]  # SANA's ratio height / width, as published, to samples nearest to it
    captions: tuple[SourceSummary, ...]
    captions_per_sample: dict[int, int]  # number of captions to samples
    caption_notes: tuple[str, ...]  # a sentence about each kind of captions that a default recipe does not see whole
    unused_columns: tuple[str, ...]  # texts beside the captions, files and scores
    unused_files: tuple[str, ...]  # a sentence about each kind of files that have no part in it
    problems: tuple[Problem, ...]

    def num_by_reason(self) -> dict[str, int]:
        return dict(sorted(Counter(problem.reason for problem in self.problems).items()))


def inspect_data(source: DataSource) -> Inspection:
    """From the index in memory; no picture is read."""
    samples = [source[index] for index in range(len(source))]
    clips = [sample.clip for sample in samples if sample.clip is not None]
    return Inspection(
        path=str(source.path),
        layout=source.layout,
        caption_files=source.caption_files,
        holds="latents" if source.has_latents() else _holds(len(samples), len(clips)),
        num_samples=len(samples),
        width=_spread([sample.width for sample in samples]),
        height=_spread([sample.height for sample in samples]),
        megapixels=_spread([round(sample.width * sample.height / 1e6, 3) for sample in samples]),
        seconds=_spread([round(clip.seconds, 2) for clip in clips]),
        fps=_spread([clip.fps for clip in clips]),
        aspect_ratios=aspect_ratio_histogram(samples),
        captions=_sources(samples),
        captions_per_sample=dict(sorted(Counter(len(sample.captions) for sample in samples).items())),
        caption_notes=tuple(_caption_notes(source, samples)),
        unused_columns=source.unused_columns,
        unused_files=source.unused_files,
        problems=source.problems,
    )


def _holds(num_samples: int, num_clips: int) -> str:
    if not num_clips:
        return "pictures"
    return "clips" if num_clips == num_samples else "pictures and clips"


def aspect_ratio_histogram(samples: Sequence[Sample]) -> dict[str, int]:
    """Samples per bin of SANA's training table, the widest first; bins without samples are left out."""
    ratios = list(aspect_ratio_bins(1024, training=True))
    counts = Counter(min(ratios, key=lambda ratio: abs(ratio - sample.height / sample.width)) for sample in samples)
    return {str(ratio): counts[ratio] for ratio in sorted(counts)}


def _caption_notes(source: DataSource, samples: Sequence[Sample]) -> list[str]:
    notes = never_drawn(source, range(len(samples)), PowerLawChoice())
    long = [sample.key for sample in samples if any(len(c.text.split()) >= READ_TOKENS for c in sample.captions)]
    if long:
        notes.append(
            f"captions of {len(long)} samples, {long[0]} for one, have {READ_TOKENS} words or more, and SANA reads "
            f"{READ_TOKENS} tokens, at least one a word; what is beyond is cut"
        )
    return notes


def _sources(samples: Sequence[Sample]) -> tuple[SourceSummary, ...]:
    by_source: dict[str, list[Caption]] = defaultdict(list)
    for sample in samples:
        for caption in sample.captions:
            by_source[caption.source].append(caption)
    ordered = sorted(by_source.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(_source(name, captions) for name, captions in ordered)


def _source(name: str, captions: Sequence[Caption]) -> SourceSummary:
    scores = [caption.score for caption in captions if caption.score is not None]
    return SourceSummary(
        source=name,
        num_captions=len(captions),
        mean_words=round(fmean(len(caption.text.split()) for caption in captions), 1),
        scores=_spread(scores),
        num_scores=len(scores),
    )


def _spread(numbers: Sequence[float]) -> Spread | None:
    numbers = [number for number in numbers if math.isfinite(number)]
    if not numbers:
        return None
    return Spread(smallest=min(numbers), middle=median(numbers), largest=max(numbers))
