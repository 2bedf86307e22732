"""Many clips on one sheet: a film strip of each, or all of them moving side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.files import written_aside
from sanakit.common.pixels import Picture, evenly
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.drawing import DrawClips
from sanakit.evaluation.reports.picture_grid import picture_grid

_STRIP = 9  # frames of a film strip
_COLUMNS = 4  # of clips side by side
_COLOURS = 128  # of a GIF


def clip_sheet(draw: DrawClips, prompts: Sequence[str], seed: int) -> Image.Image:
    """A film strip of each prompt's clip below the other."""
    return _strips([frames for frames, _ in draw(prompts, [seed] * len(prompts))], prompts)


def _strips(clips: Sequence[NDArray[np.uint8]], prompts: Sequence[str]) -> Image.Image:
    return picture_grid([film_strip(frames) for frames in clips], prompts, columns=1, label_height=16)


def film_strip(frames: NDArray[np.uint8]) -> Picture:
    """Up to nine frames of a clip ``(T, H, W, 3)``, the first and the last among them, beside each other."""
    return np.concatenate(list(frames[evenly(len(frames), _STRIP)]), axis=1)


def save_clip_sheet(
    draw: DrawClips, prompts: Sequence[str], seed: int, path: Path, *, on_progress: OnProgress = no_progress
) -> None:
    """Clips of one length and size, one after the other: film strips as PNG, or as GIF all moving side by side; whole
    or not at all, what was there is replaced."""
    clips, fps = list[NDArray[np.uint8]](), 0.0
    for number, prompt in enumerate(prompts):
        frames, fps = draw([prompt], [seed])[0]
        clips.append(frames)
        on_progress(number + 1, len(prompts), "drawing")
    with written_aside(path, force=True) as building:
        if path.suffix == ".gif":
            _save_moving(clips, prompts, fps, building)
        else:
            _strips(clips, prompts).save(building, "PNG", optimize=True)


def _save_moving(clips: Sequence[NDArray[np.uint8]], prompts: Sequence[str], fps: float, path: Path) -> None:
    sheets = [picture_grid(frames, prompts, columns=_COLUMNS) for frames in zip(*clips, strict=True)]
    palette = sheets[0].quantize(_COLOURS)
    first, *others = (sheet.quantize(palette=palette, dither=Image.Dither.NONE) for sheet in sheets)
    first.save(path, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)
