"""Where clips go: one file, or a folder in which every clip gets a readable name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sanakit.common.errors import RequestError
from sanakit.common.files import write_new, write_whole, written_aside
from sanakit.common.paths import as_path

if TYPE_CHECKING:
    from sanakit.pipelines.record import PictureRecord

ClipFormat = Literal["mp4", "webm", "gif", "webp", "png"]
FORMATS: tuple[ClipFormat, ...] = ("mp4", "webm", "gif", "webp", "png")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipPlace:
    """A checked answer to "where to?"; ``file`` is None where clips are named after their prompts."""

    folder: Path
    file: Path | None
    clip_format: ClipFormat

    def write(self, stem: str, frames: Any, record: PictureRecord, *, with_record: bool = True) -> Path:
        """Write a clip and give its path: in a folder always a new one, so nothing there is overwritten. The record is
        in the file and, as JSON, beside it.

        Raises:
            OutputError: it cannot be written.
            RequestError: PyAV, which the format needs, is not installed.
        """
        from sanakit.pipelines.clips.files import write_clip, write_frames

        told = record if with_record else None
        rate = getattr(record.request, "fps", None) or 16
        if self.clip_format == "png":
            return write_frames(self.file or _free_folder(self.folder / stem), frames, told)
        suffix = f".{self.clip_format}"
        path = self.file or self.folder / f"{stem}{suffix}"

        def write(building: Path) -> None:
            write_clip(building, frames, rate, self.clip_format, told)

        if self.file is None:
            path = write_new(path, write)
        else:
            with written_aside(path) as building:
                write(building)
        if told is not None:
            write_whole(path.with_suffix(f"{suffix}.json"), told.to_json())
        return path


def choose_clip_place(output: str | Path | None, clip_format: str | None = None, *, num_clips: int = 1) -> ClipPlace:
    """Understand where clips are to go, and as what: a name that ends in .mp4, .webm, .gif or .webp is a file, one that
    ends in .png a folder of pictures, and everything else a folder in which clips get names.

    Raises:
        RequestError: the two contradict each other, a file is to take several clips, or its folder is not there.
    """
    if clip_format is not None and clip_format not in FORMATS:
        raise RequestError(f"format={clip_format} is not offered for clips; use {', '.join(FORMATS)}")
    path = as_path(output or ".")
    suffix = path.suffix.lower().removeprefix(".")
    if output is None or path.is_dir() or str(output).endswith("/") or not suffix:
        return ClipPlace(folder=path, file=None, clip_format=_known(clip_format or "mp4"))
    if suffix not in FORMATS:
        raise RequestError(
            f"output={output} is no clip; end it with .mp4, .webm, .gif, .webp or .png, or with / for a folder"
        )
    if clip_format is not None and clip_format != suffix:
        raise RequestError(f"output={output} and format={clip_format} contradict each other; leave one out")
    if num_clips > 1:
        raise RequestError(f"output={output} is one file for {num_clips} clips; give a folder, such as {path.stem}/")
    if not path.parent.exists():
        raise RequestError(f"output={output} lies in a folder that does not exist; make {path.parent} first")
    file = path.with_suffix("") if suffix == "png" else path
    if suffix == "png" and file.exists():
        raise RequestError(f"output={output} is the folder {file}, which exists already; choose another name")
    return ClipPlace(folder=path.parent, file=file, clip_format=_known(suffix))


def _free_folder(wanted: Path) -> Path:
    names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in range(1, 10_000))
    return next(name for name in names if not name.exists())


def _known(name: str) -> ClipFormat:
    return next(each for each in FORMATS if each == name)
