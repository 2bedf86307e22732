"""What became of everything in a data set that is not simply used, in sentences: counted by what happened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sanakit.data.caption_choice import (
    CaptionChoice,
    PowerLawChoice,
    ProportionChoice,
    best_score,
    caption_probabilities,
)
from sanakit.data.samples import Caption, Problem
from sanakit.data.sources.data_source import DataSource

_SHOWN = 3


def fates(source: DataSource) -> list[str]:
    """A sentence for each thing that happened, with the first few names; none if all is used without a fault."""
    left_out = [problem for problem in source.problems if not problem.used]
    used = [problem for problem in source.problems if problem.used]
    sentences = [f"left out, {sentence}" for sentence in _by_reason(left_out)]
    sentences += [f"used all the same, {sentence}" for sentence in _by_reason(used)]
    return [*sentences, *(f"not used, {sentence}" for sentence in source.unused_files)]


def _by_reason(problems: Sequence[Problem]) -> list[str]:
    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.reason].append(problem)
    return [f"{len(found)} {reason}: {some(found)}" for reason, found in sorted(groups.items())]


def some(problems: Sequence[Problem]) -> str:
    """The first few with what is wrong."""
    shown = "; ".join(f"{problem.key} ({problem.detail})" for problem in problems[:_SHOWN])
    return shown + (f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else "")


def never_drawn(source: DataSource, samples: Sequence[int], choice: CaptionChoice) -> list[str]:
    """A sentence for each reason for which captions of these samples are never shown to a model by the choice."""
    found: dict[str, list[str]] = defaultdict(list)  # reason to keys
    total = 0
    for index in samples:
        sample = source[index]
        total += len(sample.captions)
        if len(sample.captions) > 1:
            shares = caption_probabilities(sample.captions, choice)
            for caption, share in zip(sample.captions, shares, strict=True):
                if not share:
                    found[_why_never(sample.captions, caption, choice)].append(f"{caption.source} of {sample.key}")
    return [
        f"{len(names)} of {total} captions are never drawn, {names[0]} for one: {reason}"
        for reason, names in found.items()
    ]


def _why_never(captions: Sequence[Caption], caption: Caption, choice: CaptionChoice) -> str:
    if isinstance(choice, ProportionChoice):
        return "caption_choice.proportions gives their sources no share; name them there"
    best = best_score(captions)
    if best is None:
        return (
            "without scores the first is always taken; `sanakit data captions score` gives scores, or caption_choice: "
            "{type: proportion, proportions: {prompt: 1, prompt_2: 1}} shares"
        )
    if caption.score is None:
        return (
            "they have no score, and others of their picture have; `sanakit data captions score` gives the rest theirs"
        )
    if isinstance(choice, PowerLawChoice) and best < choice.threshold:
        return (
            f"no caption of their picture reaches caption_choice.threshold={choice.threshold:g}, so the best is always "
            f"taken; {{type: exponential}} draws by scores of any sign, as logits are"
        )
    if isinstance(choice, PowerLawChoice) and caption.score < choice.threshold:
        return f"they score less than caption_choice.threshold={choice.threshold:g}; a lower one lets them in"
    if isinstance(choice, PowerLawChoice) and caption.score <= 0:
        return "a score of 0 or less weighs nothing; caption_choice: {type: exponential} draws by scores of any sign"
    return f"they score too far below the best for caption_choice.temperature={choice.temperature:g}"
