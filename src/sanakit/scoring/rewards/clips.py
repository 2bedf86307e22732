"""Clips before rewards of pictures: some frames of each are looked at, and the mean counts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from PIL import Image

from sanakit.common.pixels import evenly
from sanakit.scoring.rewards.reward import Clip, Metadata, Reward, Rewarded, asked

LOOKED_AT = 4  # frames of a clip, evenly spaced, the first and the last among them


def asked_of_frames(
    reward: Reward,
    name: str,
    clips: Sequence[Clip],
    prompts: Sequence[str],
    metadata: Sequence[Metadata],
    seeds: Sequence[int],
) -> Rewarded:
    """What a reward of pictures says of clips: part by part the mean over frames that have one; facts by frame.

    Raises:
        RewardError: as of `asked`.
    """
    pictures = [picture for clip in clips for picture in _frames_of(clip)]
    numbers = [number for number, clip in enumerate(clips) for _ in _frames_of(clip)]
    found = asked(
        reward,
        name,
        pictures,
        [prompts[number] for number in numbers],
        [metadata[number] for number in numbers],
        [seeds[number] for number in numbers],
    )
    scores = {
        part: [_mean([each for each, own in zip(values, numbers, strict=True) if own == n]) for n in range(len(clips))]
        for part, values in found.scores.items()
    }
    facts = [
        {"frames": [dict(each) for each, own in zip(found.facts, numbers, strict=True) if own == n]}
        for n in range(len(clips))
        if found.facts
    ]
    return Rewarded(scores, facts)


def _frames_of(clip: Clip) -> list[Image.Image]:
    return [Image.fromarray(clip.frames[number]) for number in evenly(len(clip.frames), LOOKED_AT)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
