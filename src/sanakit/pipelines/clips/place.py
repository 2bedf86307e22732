"""Where clips go: one file, or a folder in which every clip gets a readable name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sanakit.common.errors import RequestError
from sanakit.common.files import write_new, write_whole, written_aside
from sanakit.pipelines.picture_place import chosen, slug

if TYPE_CHECKING:
    from sanakit.pipelines.record import PictureRecord

ClipFormat = Literal["mp4", "webm", "gif", "webp", "png"]
_SUFFIXES: dict[str, ClipFormat] = {".mp4": "mp4", ".webm": "webm", ".gif": "gif", ".webp": "webp", ".png": "png"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipPlace:
    """A checked answer to "where to?"; ``file`` is None where clips are named after their prompts, and ``with_record``
    says whether prompt, seed and settings go with them."""

    folder: Path
    file: Path | None
    clip_format: ClipFormat
    with_record: bool = True

    def write(self, frames: Iterable[Any], record: PictureRecord) -> tuple[Path, PictureRecord]:
        """Write a clip as its frames ``(H, W, 3)`` come, and give its path and its record with their hash: in a folder
        always a new one, so nothing there is overwritten. The record is in the file and, as JSON, beside it.

        Args:
            record: without ``image`` where the frames are not known yet.

        Raises:
            OutputError: it cannot be written.
            RequestError: PyAV, which the format needs, is not installed.
        """
        from sanakit.pipelines.clips.files import beside
        from sanakit.pipelines.clips.passing import PassingFrames
        from sanakit.pipelines.clips.writing import write_clip

        stem = f"{slug(record.request.prompt)}-seed{record.request.seed}"
        is_folder, rate = self.clip_format == "png", getattr(record.request, "fps", None) or 16
        path = self.file or self.folder / (stem if is_folder else f"{stem}.{self.clip_format}")
        passing = PassingFrames(frames)

        def write(building: Path) -> None:
            write_clip(building, passing, rate, self.clip_format, record if self.with_record else None)

        if self.file is None and not is_folder:
            path = write_new(path, write)
        else:
            path = path if self.file else _free_folder(path)
            with written_aside(path) as building:
                write(building)
        finished = passing.finished(record)
        if self.with_record and not is_folder:
            write_whole(beside(path), finished.to_json())
        return path, finished


def can_be_written(clip_format: str) -> bool:
    """MP4 and WebM need PyAV, the other formats only what is always here."""
    return clip_format not in ("mp4", "webm") or find_spec("av") is not None


def choose_clip_place(output: str | Path | None, clip_format: str | None = None, *, num_clips: int = 1) -> ClipPlace:
    """Understand where clips are to go, and as what, as of pictures; a name that ends in .png is a folder of them, and
    where nothing is said they are MP4 files, or GIF files without PyAV.

    Raises:
        RequestError: as of pictures, or that folder is there already, or PyAV, which the format needs, is not here.
    """
    suffixes = dict(sorted(_SUFFIXES.items(), key=lambda each: not can_be_written(each[1])))
    folder, file, found = chosen(output, clip_format, suffixes, num=num_clips, what="clip")
    if not can_be_written(found):
        from sanakit.pipelines.clips.files import need_av

        need_av()  # and says what would do
    if file is not None and found == "png":
        file = file.with_suffix("")
        if file.exists():
            raise RequestError(f"output={output} is the folder {file}, which exists already; choose another name")
    return ClipPlace(folder=folder, file=file, clip_format=found)


def streamed_to(
    save_to: str | Path | ClipPlace | None, *, num_clips: int, decoded: bool, clips: bool
) -> ClipPlace | None:
    """Where clips are written while they are decoded, if anywhere.

    Raises:
        RequestError: that is no place for so many, or there is no clip that is decoded into a file.
    """
    if save_to is None:
        return None
    if not (clips and decoded):
        why = "pictures are saved once they are there" if not clips else "only 'pil' is written to a file"
        raise RequestError(f"save_to={save_to} is not usable here: {why}; leave it out and use save() of the result.")
    return save_to if isinstance(save_to, ClipPlace) else choose_clip_place(save_to, num_clips=num_clips)


def _free_folder(wanted: Path) -> Path:
    names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in range(1, 10_000))
    return next(name for name in names if not name.exists())
