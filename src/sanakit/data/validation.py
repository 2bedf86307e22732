"""Read every sample of a data set to its end, and name the bad ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

from sanakit.common.errors import PictureError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.ahead import map_ahead
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """What a thorough look has found."""

    num_good: int  # samples that were read to their end
    problems: tuple[Problem, ...]  # those of opening and those of reading, by key
    unused_files: tuple[str, ...] = ()  # a sentence about each kind of files that have no part in it

    def num_by_reason(self) -> dict[str, int]:
        return dict(sorted(Counter(problem.reason for problem in self.problems).items()))


def validate(
    source: DataSource, *, num_threads: int | None = None, on_progress: OnProgress = no_progress
) -> Validation:
    """Decode every picture and clip, or read every latent with its text features."""
    problems, num_good = list(source.problems), 0
    found = map_ahead(partial(read_to_the_end, source), range(len(source)), num_threads=num_threads)
    for index, problem in enumerate(found, 1):
        if problem is None:
            num_good += 1
        else:
            problems.append(problem)
        on_progress(index, len(source), "reading")
    return Validation(num_good=num_good, problems=tuple(sorted(problems)), unused_files=source.unused_files)


def read_to_the_end(source: DataSource, index: int) -> Problem | None:
    """What is wrong with one sample, found by reading all of it."""
    try:
        if source.has_latents():
            source.latent(index)
            source.text_features(index)
        else:
            source.check(index)
    except PictureError as error:
        return Problem(key=source[index].key, reason="undecodable", detail=str(error))
    return None
