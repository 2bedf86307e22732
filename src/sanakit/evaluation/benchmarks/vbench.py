"""VBench's prompts as clips, in the names that its own scorer looks for; a run that was stopped goes on.

Source: VBench, arXiv:2311.17982.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sanakit.common.config import json_values
from sanakit.common.errors import PictureError, RequestError
from sanakit.common.files import written_aside
from sanakit.common.progress import OnProgress, no_progress
from sanakit.common.seeds import image_seed
from sanakit.evaluation.drawing import Pipeline
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.files import read_clip_record
from sanakit.pipelines.clips.passing import PassingFrames
from sanakit.pipelines.clips.writing import write_clip
from sanakit.pipelines.request import VideoRequest

log = logging.getLogger(__name__)

VIDEOS = "videos"  # the folder that VBench is given
_FEW, _MANY = 5, 25  # clips of a prompt, and of one whose flickering is measured
_LONGEST = 240  # bytes of a prompt that is a file's name


@dataclass(frozen=True, kw_only=True, slots=True)
class VBenchPrompt:
    """One of the list; ``first`` is the number of its first clip in the whole list, from which seeds follow."""

    text: str
    dimensions: tuple[str, ...]
    num: int
    first: int

    def files(self, folder: Path) -> list[Path]:
        """``PROMPT-0.mp4`` ..., as VBench names them."""
        return [folder / VIDEOS / f"{self.text}-{number}.mp4" for number in range(self.num)]


@dataclass(frozen=True, kw_only=True, slots=True)
class VBenchList:
    """Prompts in their published order; ``sha256`` is of what was read."""

    prompts: tuple[VBenchPrompt, ...]
    sha256: str

    def of(self, dimensions: Sequence[str], limit: int | None = None) -> VBenchList:
        """Those of some dimensions, the first so many.

        Raises:
            RequestError: there is none.
        """
        chosen = [each for each in self.prompts if not dimensions or set(dimensions) & set(each.dimensions)][:limit]
        if not chosen:
            raise RequestError(f"no prompt of the list is of {', '.join(dimensions)}; a dimension is one of VBench's")
        return replace(self, prompts=tuple(chosen))

    @property
    def num_clips(self) -> int:
        return sum(each.num for each in self.prompts)


def read_vbench(path: Path, num: int | None = None) -> VBenchList:
    """VBench's ``VBench_full_info.json``.

    Args:
        num: clips of every prompt; None: five, and 25 where flickering is measured, as published.

    Raises:
        RequestError: it is not there, or another file.
    """
    expected = "VBench's VBench_full_info.json"
    try:
        content = path.read_bytes()
        rows = [(str(row["prompt_en"]).strip(), tuple(map(str, row["dimension"]))) for row in json_values(content)]
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}); give {expected}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is not {expected} ({type(error).__name__}: {error})") from error
    merged: dict[str, tuple[str, ...]] = {}
    for text, dimensions in rows:
        merged[text] = (*merged.get(text, ()), *dimensions)  # some prompts stand there once for each dimension
    prompts, first = list[VBenchPrompt](), 0
    for text, dimensions in merged.items():
        if not text or "/" in text or "\\" in text or "\0" in text or len(text.encode()) > _LONGEST:
            raise RequestError(f"{path} has a prompt that is no file's name: {text[:60]!r}")
        wanted = num or (_MANY if "temporal_flickering" in dimensions else _FEW)
        prompts.append(VBenchPrompt(text=text, dimensions=dimensions, num=wanted, first=first))
        first += wanted
    if not prompts:
        raise RequestError(f"{path} holds no prompts; give {expected}")
    return VBenchList(prompts=tuple(prompts), sha256=hashlib.sha256(json.dumps(rows).encode()).hexdigest())


def draw_vbench(
    listed: VBenchList,
    pipeline: Pipeline,
    model_hash: str,
    folder: Path,
    *,
    seed: int,
    settings: Mapping[str, Any],
    on_progress: OnProgress = no_progress,
) -> int:
    """Draw what is missing into ``folder / "videos"``, and give how many clips that were.

    A clip that is there is kept if its record says the same prompt, seed, settings and weights.

    Raises:
        RequestError: the folder holds clips of another run.
        OutputError: the disk is full; what is finished stays.
    """
    (folder / VIDEOS).mkdir(parents=True, exist_ok=True)
    drawn = done = 0
    for prompt in listed.prompts:
        for number, path in enumerate(prompt.files(folder)):
            request = VideoRequest(prompt=prompt.text, seed=image_seed(seed, prompt.first + number), **settings)
            if not _is_done(path, request, model_hash):
                _write(path, pipeline([request]).images[0])
                drawn += 1
            done += 1
            on_progress(done, listed.num_clips, "drawing")
    return drawn


def _write(path: Path, clip: object) -> None:
    """With its record inside; nothing else may lie in the folder, as VBench takes what it finds there for clips."""
    if not isinstance(clip, GeneratedClip):
        raise RequestError("the model makes pictures; VBench is about clips")
    with written_aside(path) as building:
        write_clip(building, PassingFrames(clip.pictures), clip.fps, "mp4", clip.record)


def _is_done(path: Path, request: VideoRequest, model_hash: str) -> bool:
    if not path.exists():
        return False
    try:
        record = read_clip_record(path)
    except PictureError as error:
        log.warning("%s; it is drawn again", error)
        return False
    asked = {name: value for name, value in request.model_dump(exclude={"num_images"}).items() if value is not None}
    made = record.request.model_dump() if record is not None else {}
    other = [name for name, value in asked.items() if made.get(name) != value]
    if record is None or other or record.model.hash != model_hash:
        what = other[0] if other else "model"
        raise RequestError(f"{path} is of another run ({what}); give an --output of its own, or remove it")
    return True
