"""Which length and which rate each clip is trained at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sanakit.common.errors import RequestError
from sanakit.data.samples import ClipFacts

_SAME_RATE = 1.03  # 29.97 frames a second are 30


@dataclass(frozen=True, slots=True)
class Cut:
    """The beginning of a clip: so many frames, at a rate; a picture is one frame."""

    num_frames: int
    fps: float


def cut_of(clip: ClipFacts | None, lengths: Sequence[int], rates: Sequence[float]) -> Cut | None:
    """The rate is the highest that is not above the clip's own, so that no frame is shown twice, or else the lowest;
    the length is the longest that the clip has at that rate, or at a lower one where it has none at that. None: it is
    too short, or it is a picture (None) and no length is 1.

    Raises:
        RequestError: there is no length or rate.
    """
    if not lengths or not rates or min(lengths) < 1 or not min(rates) > 0:
        raise RequestError(f"frames={list(lengths)} and fps={list(rates)} must hold lengths from 1 and rates above 0")
    if clip is None:
        return Cut(1, min(rates)) if 1 in lengths else None
    fitting = sorted((rate for rate in rates if rate <= clip.fps * _SAME_RATE), reverse=True) or [min(rates)]
    for rate in fitting:
        # The last moment may lie half a step behind the end, as the 81st frame at 16 a second of a clip of 5 seconds.
        long_enough = [length for length in lengths if length > 1 and (length - 1.5) / rate < clip.seconds]
        if long_enough:
            return Cut(max(long_enough), rate)
    return None


def check_lengths(frames: Sequence[int], temporal: int) -> None:
    """Raises RequestError for a length that the autoencoder cannot read."""
    for length in frames:
        if (length - 1) % temporal:
            below = (length - 1) // temporal * temporal + 1
            raise RequestError(
                f"frames={length} does not suit the autoencoder, whose clips have 1 frame more than a multiple of "
                f"{temporal}; the nearest are {below} and {below + temporal}"
            )
