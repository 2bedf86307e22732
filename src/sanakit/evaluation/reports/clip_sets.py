"""Clips to measure, and the features of each: of its frames, and of the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import shared_name
from sanakit.common.pixels import to_unit
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.open import open_data
from sanakit.data.samples import ClipFacts
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.extractors.of_clips import ClipExtractor

Floats = NDArray[np.float64]
Frames = NDArray[np.uint8]
"""``(T, H, W, 3)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipSet:
    """``read(index)`` gives the frames of a clip, all of one length; ``problems`` say what is left out."""

    path: Path
    keys: tuple[str, ...]
    read: Callable[[int], Frames]
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)


def open_clips(
    path: Path,
    *,
    num_frames: int,
    fps: float,
    limit: int | None = None,
    at_least: int = 1,
    also: Sequence[str | Path] = (),
) -> ClipSet:
    """The clips of a folder or data set by name, each its first ``num_frames`` moments; those that are shorter are left
    out.

    Raises:
        RequestError: no such path, or fewer than ``at_least`` clips that are long enough.
    """
    if not path.exists():
        raise RequestError(f"{path} does not exist; give a folder of clips")
    source = open_data(path, need_captions=False, also=also)
    long, problems = list[int](), [f"{each.key}: {each.detail}" for each in source.problems if not each.used]
    for index in range(len(source)):
        clip = source[index].clip
        if clip is None:
            problems.append(f"{source[index].key} is a picture")
        elif _is_long(clip, num_frames, fps):
            long.append(index)
        else:
            problems.append(f"{source[index].key} is shorter than {num_frames} frames at {fps:g} a second")
    chosen = long[:limit]
    if len(chosen) < at_least:
        beside = f" ({problems[0]})" if problems else ""
        raise RequestError(f"{path} holds {len(chosen)} clips that can be used{beside}; at least {at_least} are needed")
    return ClipSet(
        path=path,
        keys=tuple(source[index].key for index in chosen),
        read=lambda number: source.frames(chosen[number], num_frames=num_frames, fps=fps),
        problems=tuple(problems),
    )


def clips_in_memory(name: str, clips: Sequence[Frames]) -> ClipSet:
    """Clips that are there already."""
    return ClipSet(path=Path(name), keys=tuple(map(str, range(len(clips)))), read=lambda number: clips[number])


def _is_long(clip: ClipFacts, num_frames: int, fps: float) -> bool:
    """As `frames_at` finds it: the last moment may lie half a step behind the end."""
    return (num_frames - 1.5) / fps < clip.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFeatures:
    """``frames`` ``(N, T, F)`` and ``clips`` ``(N, G)``, float64, and what they are of."""

    frames: Floats
    clips: Floats
    facts: dict[str, Any]

    @property
    def consistency(self) -> list[float]:
        """Of each clip, the mean cosine of the features of frames that follow each other; 1 where nothing changes."""
        lengths = np.maximum(np.linalg.norm(self.frames, axis=2, keepdims=True), 1e-12)
        unit = self.frames / lengths
        cosines: list[float] = (unit[:, 1:] * unit[:, :-1]).sum(2).mean(1).tolist()
        return cosines


@torch.no_grad()
def clip_features(
    clips: ClipSet,
    of_frames: FeatureExtractor,
    of_clips: ClipExtractor,
    *,
    device: str | torch.device = "cpu",
    on_progress: OnProgress = no_progress,
) -> ClipFeatures:
    """Read every clip once, all its frames together.

    Raises:
        PictureError: a clip cannot be read.
    """
    frames, wholes, digest = list[Floats](), list[Floats](), hashlib.sha256()
    for index, key in enumerate(clips.keys):
        pixels = clips.read(index)
        if frames and len(pixels) != len(frames[0]):
            raise PictureError(
                f"{key} has {len(pixels)} frames and others {len(frames[0])}; clips must be of one length"
            )
        digest.update(f"{pixels.shape}\n".encode() + np.ascontiguousarray(pixels).tobytes())
        images = to_unit(list(pixels)).to(device)  # (T, 3, H, W)
        found = of_frames(images)
        wholes.append(of_clips(images, found).cpu().double().numpy())
        frames.append(found.cpu().double().numpy())
        on_progress(index + 1, len(clips), "reading clips")
    facts = {
        "path": shared_name(clips.path), "clips": len(frames), "frames": len(frames[0]),
        "pixels_sha256": digest.hexdigest(), "left_out": len(clips.problems) or None,
        "first_left_out": next(iter(clips.problems), "").replace(f"{clips.path}/", "") or None,
    }  # fmt: skip
    return ClipFeatures(frames=np.stack(frames), clips=np.stack(wholes), facts=facts)
