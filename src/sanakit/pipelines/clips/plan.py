"""From a request for clips to single clips."""

from __future__ import annotations

from collections.abc import Iterator

from sanakit.checkpoints.identity.card import VideoDefaults
from sanakit.common.aspect_ratio import CLIP_SIZES, nearest_clip_bin
from sanakit.common.errors import RequestError
from sanakit.common.seeds import image_seed
from sanakit.pipelines.request import MAX_FRAMES, VideoRequest
from sanakit.pipelines.resolution import generated_size
from sanakit.pipelines.sources.clip import SourceClip
from sanakit.sampling.flow_euler import FlowEuler

DEFAULT_RATIO = 832 / 480  # of width to height, where clips are not square


def as_clips(request: VideoRequest, defaults: VideoDefaults, temporal: int) -> Iterator[VideoRequest]:
    """Each clip with its own seed, and with length, rate, motion, size and solver filled in; the rest is as of
    pictures.

    Args:
        request: what is asked for.
        defaults: of the model.
        temporal: frames are one more than a multiple of it.

    Raises:
        RequestError: the model cannot make such a clip.
    """
    fps = request.fps or usual_rate(request.clip, defaults)
    frames = request.num_frames or _default_length(request, defaults, temporal, fps)
    if (frames - 1) % temporal:
        below = (frames - 1) // temporal * temporal + 1
        near = " or ".join(str(each) for each in (below, below + temporal) if each <= MAX_FRAMES)
        raise RequestError(
            f"num_frames={frames} does not suit this model, whose clips have 1 frame more than a multiple of "
            f"{temporal}; the nearest are {near}."
        )
    if request.extend:
        _check_length(request, frames, fps)
    elif request.clip is not None and (there := request.clip.num_at(fps)) < frames:
        at, else_ = ("", "") if request.clip.fps is None else (f" at {fps} a second", ", or for a higher fps")
        raise RequestError(
            f"{request.clip} has {there} frames{at}, and num_frames={frames} are more; ask for fewer{else_}."
        )
    begins = request.image is not None or request.extend
    if begins and request.solver not in (None, FlowEuler.name):
        raise RequestError(
            f"a clip that begins with a given frame is made by {FlowEuler.name}, and not by {request.solver}, whose "
            f"steps would change that; leave the solver out."
        )
    height, width = request.height or 0, request.width or 0
    if not height:
        height, width = _default_size(request, defaults.base_size)
    told = {
        "num_frames": frames,
        "fps": fps,
        "motion_score": defaults.motion_score if request.motion_score is None else request.motion_score,
        "height": height,
        "width": width,
        "solver": FlowEuler.name if begins else request.solver,
        "num_images": 1,
    }
    for index in range(request.num_images):
        yield request.model_copy(update={**told, "seed": image_seed(request.seed, index)})


def size_of_clip(request: VideoRequest, base_size: int, granularity: int) -> tuple[int, int]:
    """Height and width that the network makes, in pixels.

    Raises:
        RequestError: it cannot.
    """
    assert request.height is not None
    assert request.width is not None
    if request.use_resolution_binning and base_size in CLIP_SIZES:
        return nearest_clip_bin(request.height, request.width, base_size)
    return generated_size(request.height, request.width, base_size, granularity, use_binning=False)


def motion_suffix(request: VideoRequest) -> str:
    """What stands behind the prompt, as in training: the mean length of the optical flow, in a sentence."""
    return f" motion score: {request.motion_score}." if request.motion_score else ""


def usual_rate(clip: SourceClip | None, defaults: VideoDefaults) -> int:
    """The model's own; that of a clip which one is made from, where that is lower."""
    own = None if clip is None else clip.fps
    return defaults.fps if own is None else min(defaults.fps, max(round(own), 1))


def _default_length(request: VideoRequest, defaults: VideoDefaults, temporal: int, fps: int) -> int:
    """The model's own; of a shorter clip which it is made from, as much as there is."""
    if request.clip is None or request.extend:
        return defaults.num_frames
    return min(defaults.num_frames, 1 + (request.clip.num_at(fps) - 1) // temporal * temporal)


def _check_length(request: VideoRequest, frames: int, fps: int) -> None:
    whole = request.model_copy(update={"num_frames": frames, "fps": fps}).frames_in_all
    if whole > MAX_FRAMES:
        raise RequestError(
            f"{request.clip} would become {whole} frames long, and {MAX_FRAMES} are the most; cut it before."
        )


def _default_size(request: VideoRequest, base_size: int) -> tuple[int, int]:
    if base_size not in CLIP_SIZES:
        return base_size, base_size
    if (source := request.image or request.clip) is not None:
        return nearest_clip_bin(source.height, source.width, base_size)
    return nearest_clip_bin(1000, round(1000 * DEFAULT_RATIO), base_size)
