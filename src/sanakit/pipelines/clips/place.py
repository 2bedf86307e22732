"""Where clips go: one file, or a folder in which every clip gets a readable name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sanakit.common.errors import RequestError
from sanakit.common.files import write_new, write_whole, written_aside
from sanakit.pipelines.picture_place import chosen

if TYPE_CHECKING:
    from sanakit.pipelines.record import PictureRecord

ClipFormat = Literal["mp4", "webm", "gif", "webp", "png"]
_SUFFIXES: dict[str, ClipFormat] = {".mp4": "mp4", ".webm": "webm", ".gif": "gif", ".webp": "webp", ".png": "png"}


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
        from sanakit.pipelines.clips.files import beside, write_clip, write_frames

        told = record if with_record else None
        rate = getattr(record.request, "fps", None) or 16
        if self.clip_format == "png":
            return write_frames(self.file or _free_folder(self.folder / stem), frames, told)
        path = self.file or self.folder / f"{stem}.{self.clip_format}"

        def write(building: Path) -> None:
            write_clip(building, frames, rate, self.clip_format, told)

        if self.file is None:
            path = write_new(path, write)
        else:
            with written_aside(path) as building:
                write(building)
        if told is not None:
            write_whole(beside(path), told.to_json())
        return path


def choose_clip_place(output: str | Path | None, clip_format: str | None = None, *, num_clips: int = 1) -> ClipPlace:
    """Understand where clips are to go, and as what, as of pictures; a name that ends in .png is a folder of them.

    Raises:
        RequestError: as of pictures, or that folder is there already.
    """
    folder, file, found = chosen(output, clip_format, _SUFFIXES, num=num_clips, what="clip")
    if file is not None and found == "png":
        file = file.with_suffix("")
        if file.exists():
            raise RequestError(f"output={output} is the folder {file}, which exists already; choose another name")
    return ClipPlace(folder=folder, file=file, clip_format=found)


def _free_folder(wanted: Path) -> Path:
    names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in range(1, 10_000))
    return next(name for name in names if not name.exists())
