"""What a client writes in the names of the community's videos API, as a request for one clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sanakit.checkpoints.identity.card import VideoDefaults
from sanakit.common.errors import RequestError
from sanakit.data.pictures import open_picture
from sanakit.pipelines.clips.place import can_be_written
from sanakit.pipelines.clips.plan import usual_rate
from sanakit.pipelines.request import MAX_FRAMES, VideoRequest
from sanakit.pipelines.sources.clip import SourceClip
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.serving.messages import FileForm
from sanakit.serving.wishes import (
    MAX_PRIORITY,
    Files,
    WishError,
    Wishes,
    about,
    decoded,
    naming,
    size_fields,
    validated,
)

_TAKEN = (
    "prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "flow_shift", "fps", "motion_score",
    "strength", "extend",
)  # fmt: skip


class VideoWish(BaseModel):
    """The body of ``/v1/videos``; in a form all values are texts."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(max_length=32_000)
    model: str | None = None
    seconds: float | None = Field(None, gt=0, le=MAX_FRAMES, description="rounded to a length that the model makes")
    size: str | None = Field(None, description="auto, or WIDTHxHEIGHT in pixels")
    output_format: Literal["mp4", "webm", "gif", "webp"] | None = None
    user: str | None = None
    # ours, as SGLang calls them
    seed: int | Literal["random"] | None = None
    negative_prompt: str | None = None
    num_frames: int | None = None
    fps: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    flow_shift: float | None = None
    motion_score: int | None = None
    strength: float | None = Field(None, description="share of the steps that change a video that it is made from; 0.6")
    extend: bool | None = Field(None, description="keep video, and go on from its last frame")
    remixed_from_video_id: str | None = Field(None, description="a finished video of this server to make it from")
    metadata: bool = True
    preview_every: int | None = Field(None, ge=1, description="steps between two previews of a job")
    priority: int = Field(0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    deadline: float | None = Field(None, gt=0, le=7 * 86_400, description="seconds from now")


def taken_reference(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    """The same fields without ``input_reference``, and that as a file; raises WishError where it is none."""
    left = dict(fields)
    given = left.pop("input_reference", None)
    if given is None:
        return left, None
    url = given.get("image_url") if isinstance(given, dict) else None
    if not isinstance(url, str) or not url.startswith("data:"):
        raise WishError(
            "input_reference is a file of a form, or an object with a data URL as its image_url.", "input_reference"
        )
    return left, decoded(url, "input_reference")


def taken_video(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    """The same fields without ``video``, and that as a file; where it is one of this server by its id, with that as
    ``remixed_from_video_id``. Raises WishError where it is none of both."""
    left = dict(fields)
    given, named = left.pop("video", None), left.pop("video[id]", None)  # as forms have it
    if isinstance(given, dict):
        named = given.get("id", named)
    if isinstance(named, str):
        return {**left, "remixed_from_video_id": named}, None
    url = given.get("video_url") if isinstance(given, dict) else None
    if isinstance(url, str) and url.startswith("data:"):
        return left, decoded(url, "video")
    if given is None and named is None:
        return left, None
    raise WishError(
        "video is a file of a form, an object with the id of a video of this server, or one with a data URL as its "
        "video_url.", "video",
    )  # fmt: skip


def as_clip_wishes(wish: VideoWish, files: Files, defaults: VideoDefaults, temporal: int) -> Wishes:
    """The request of a wish.

    Args:
        temporal: frames of a clip are one more than a multiple of it.

    Raises:
        WishError: a field or the file cannot be used.
    """
    if len(files.pictures) > 1 or files.mask is not None or files.controls:
        raise WishError("a clip begins with one picture at most; send it as input_reference.", "input_reference")
    if files.clip is not None and files.pictures:
        raise WishError(
            "input_reference is the first frame of a clip, and video what all of it is made from; send one of both.",
            "input_reference",
        )
    for name, what in (("strength", "is changed"), ("extend", "goes on")):
        if getattr(wish, name) and files.clip is None:
            raise WishError(f"{name} says how a video {what}, and none came; send it as video.", name)
    fields = {name: value for name in _TAKEN if (value := getattr(wish, name)) is not None}
    fields |= {"seed": "random" if wish.seed is None else wish.seed, **size_fields(wish.size)}
    with naming("input_reference"):
        fields |= {"image": SourcePicture.of(open_picture(files.pictures[0]))} if files.pictures else {}
    with naming("video"):
        clip = None if files.clip is None else SourceClip.of(files.clip)
    fields |= {"clip": clip, "num_frames": _num_frames(wish, wish.fps or usual_rate(clip, defaults), temporal)}
    try:
        request = VideoRequest(**fields)
    except RequestError as error:
        raise about(error) from None
    wanted = wish.output_format or "mp4"
    if not can_be_written(wanted):
        raise WishError(
            f"this server writes no {wanted}, as PyAV is not installed; ask for webp or gif.", "output_format"
        )
    return Wishes(requests=[request], form=FileForm(format=wanted, metadata=wish.metadata))


def _num_frames(wish: VideoWish, fps: int, temporal: int) -> int | None:
    if wish.num_frames is not None or wish.seconds is None:
        return wish.num_frames
    return 1 + temporal * max(round((wish.seconds * fps - 1) / temporal), 0)


def read_video_wish(fields: Mapping[str, Any]) -> VideoWish:
    """Raises WishError for the first field that is missing, unknown or not usable."""
    return validated(VideoWish, fields)
