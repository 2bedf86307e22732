"""Drawing a prompt list: every picture once, whatever happens in between."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.files import write_whole
from sanakit.common.progress import OnProgress, no_progress
from sanakit.common.seeds import image_seed
from sanakit.evaluation.benchmarks.entries import PromptEntry, PromptList
from sanakit.evaluation.drawing import Pipeline
from sanakit.pipelines.picture_file import open_picture, read_record, write_image
from sanakit.pipelines.record import PictureRecord, describe_image
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GenerationResult

log = logging.getLogger(__name__)

PICTURES = "pictures"  # the folder that a benchmark's own scorer is given


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """What is drawn: picture j of prompt i has the seed ``seed + i * num_images + j``.

    ``settings`` are of `GenerationRequest`, the same for all pictures.
    """

    prompts: PromptList
    num_images: int
    seed: int
    settings: Mapping[str, Any]

    def requests(self, entry: PromptEntry) -> list[GenerationRequest]:
        """One for each picture of a prompt."""
        first = entry.index * self.num_images
        return [
            GenerationRequest(prompt=entry.prompt, seed=image_seed(self.seed, first + number), **self.settings)
            for number in range(self.num_images)
        ]

    def requests_by_file(self, entry: PromptEntry, folder: Path) -> dict[Path, list[GenerationRequest]]:
        """Those of a prompt by the file that they belong in: one file each, of DPG-Bench one for all."""
        files: dict[Path, list[GenerationRequest]] = {}
        for number, request in enumerate(self.requests(entry)):
            files.setdefault(folder / self.prompts.picture_path(entry, number), []).append(request)
        return files


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """``files[i]`` are the pictures of prompt i: several, or one file that holds all of them side by side."""

    drawing: Drawing
    files: tuple[tuple[Path, ...], ...]
    num_drawn: int
    num_kept: int

    def by_prompt(self) -> Iterator[tuple[PromptEntry, tuple[Path, ...]]]:
        return zip(self.drawing.prompts.entries, self.files, strict=True)


def draw_prompt_list(
    drawing: Drawing, pipeline: Pipeline, model_hash: str, folder: Path, *, on_progress: OnProgress = no_progress
) -> Drawn:
    """Draw what is missing into ``folder / "pictures"``, in the layout of the benchmark's own scorer.

    A picture that is there is kept if its record says the same prompt, seed, settings and weights, and its pixels are
    those of the record; a damaged one is drawn again.

    Args:
        model_hash: of the pipeline's weights, as in the records that it writes.

    Raises:
        RequestError: the folder holds pictures of another run, or another process is drawing such there.
        OutputError: the disk is full; what is finished stays, and the next run goes on from it.
    """
    prompts, files = drawing.prompts, list[tuple[Path, ...]]()
    num_drawn = num_kept = 0
    for entry in prompts.entries:
        _write_metadata(prompts, entry, folder)
        wanted = drawing.requests_by_file(entry, folder / PICTURES)
        for path, requests in wanted.items():
            if _is_done(path, requests[0], model_hash, together=len(requests)):
                num_kept += len(requests)
            else:
                is_new = not path.exists()
                written = _write_grid(path, pipeline(requests), new=is_new)
                num_drawn += len(requests)
                if written != path:  # another process was quicker: its picture is of this run, or refused
                    written.unlink()
                    _is_done(path, requests[0], model_hash, together=len(requests))
        files.append(tuple(wanted))
        on_progress(num_drawn + num_kept, len(prompts.entries) * drawing.num_images, "drawing")
    return Drawn(drawing=drawing, files=tuple(files), num_drawn=num_drawn, num_kept=num_kept)


def pictures_in(path: Path, num_images: int) -> list[Image.Image]:
    """The pictures of a file: one, or those of a grid as `as_grid` laid them out."""
    sheet = open_picture(path).convert("RGB")
    columns, rows = grid_shape(num_images)
    width, height = sheet.width // columns, sheet.height // rows
    corners = [(number % columns * width, number // columns * height) for number in range(num_images)]
    return [sheet.crop((left, top, left + width, top + height)) for left, top in corners]


def as_grid(pictures: Sequence[Image.Image]) -> Image.Image:
    """Row by row without margins; four make 2 x 2, as DPG-Bench's scorer cuts them apart."""
    columns, rows = grid_shape(len(pictures))
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * width, rows * height))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    return sheet


def grid_shape(num: int) -> tuple[int, int]:
    """Columns and rows: 1 x 1, 2 x 2 for four, else one row."""
    return (2, 2) if num == 4 else (num, 1)


def _write_grid(path: Path, result: GenerationResult, *, new: bool) -> Path:
    """One picture, or several side by side under the record of the first."""
    pictures = [made.picture for made in result.images]
    sheet = as_grid(pictures)
    record = result.images[0].record.model_copy(update={"image": describe_image(sheet)})
    return write_image(path, sheet, record, new=new)


def _is_done(path: Path, request: GenerationRequest, model_hash: str, *, together: int) -> bool:
    if not path.exists():
        return False
    try:
        record = read_record(path)
        picture = open_picture(path)
    except PictureError as error:
        log.warning("%s; it is drawn again", error)
        return False
    difference = _difference(record, request, model_hash)
    if difference:
        raise RequestError(f"{path} is of another run ({difference}); give an --output of its own, or remove it")
    if record.image is None or describe_image(picture) != record.image:
        log.warning("%s does not have the pixels of its record; it is drawn again", path)
        return False
    columns, rows = grid_shape(together)
    if record.request.width and record.request.height:
        expected = (record.request.width * columns, record.request.height * rows)
        if picture.size != expected:
            raise RequestError(f"{path} holds another number of pictures than {together}; give an --output of its own")
    return True


def _difference(record: PictureRecord, request: GenerationRequest, model_hash: str) -> str:
    """What the picture was made from and is not asked for now; settings that are left to the model are not compared."""
    if record.model.hash != model_hash:
        return f"model {record.model.hash[:10]}, not {model_hash[:10]}"
    asked, made = request.model_dump(exclude={"num_images"}), record.request.model_dump()
    for name, value in asked.items():
        if value is not None and made[name] != value:
            return f"{name} {made[name]!r}, not {value!r}"
    return ""


def _write_metadata(prompts: PromptList, entry: PromptEntry, folder: Path) -> None:
    """GenEval's scorer reads what was asked for beside the pictures, as one line."""
    if prompts.suite != "geneval":
        return
    path = folder / PICTURES / f"{entry.index:05d}" / "metadata.jsonl"
    text = json.dumps(dict(entry.metadata), ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)
