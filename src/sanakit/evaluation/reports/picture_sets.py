"""Pictures to measure: a folder of files, or any data set that can be opened; upright RGB, in a fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import composed, is_picture, shared_name, walk
from sanakit.common.pixels import Picture
from sanakit.data.open import open_data
from sanakit.data.pictures import decode_picture


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSet:
    """``read(index)`` gives a picture; ``captions[index]`` its texts, none where nothing is known.

    ``problems`` are sentences about what opening left out.
    """

    path: Path
    keys: tuple[str, ...]
    read: Callable[[int], Image.Image]
    captions: tuple[tuple[str, ...], ...]
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Image.Image]:
        return (self.read(index) for index in range(len(self)))


def open_pictures(
    path: Path, *, limit: int | None = None, at_least: int = 1, also: Sequence[str | Path] = ()
) -> PictureSet:
    """Every picture in a folder and the folders below it, or the samples of a data set, sorted by name.

    A folder that holds files of pictures is read as such, whatever tables and captions lie beside them: those are not
    needed to measure a distance. Everything that holds shards or Parquet is opened as `sanakit.data.open` does.

    Args:
        limit: take the first so many.
        also: folders outside of it that rows and links of a data set may lead to.

    Raises:
        RequestError: no such path, nothing recognised, or fewer than ``at_least`` pictures.
    """
    if not path.exists():
        raise RequestError(f"{path} does not exist; give a folder of pictures")
    if path.is_file() and is_picture(path):
        raise RequestError(f"{path} is one picture; give the folder that it is in")
    if path.is_dir() and not any(path.iterdir()):
        raise RequestError(f"{path} is empty; give a folder of pictures")
    found = _loose_pictures(path) if path.is_dir() else None
    found = found or from_source(open_data(path, need_captions=False, also=also))
    found = found if limit is None else first_of(found, limit)
    if len(found) < at_least:
        beside = f" ({found.problems[0]})" if found.problems else ""
        counted = {0: "no picture", 1: "1 picture"}.get(len(found), f"{len(found)} pictures")
        raise RequestError(f"{path} holds {counted} that can be used{beside}; at least {at_least} are needed")
    return found


def _loose_pictures(folder: Path) -> PictureSet | None:
    """The files of pictures in a folder; None if there are none, or others inside of further files."""
    faults: list[str] = []
    files = list(walk(folder, lambda path, fault: faults.append(f"{path}: {fault}")))
    pictures = [file for file in files if is_picture(file)]
    if not pictures or any(file.suffix.lower() in (".tar", ".parquet") for file in files):
        return None
    pictures.sort(key=lambda file: file.relative_to(folder).as_posix())
    return replace(from_files(folder, pictures), problems=tuple(faults))


def first_of(pictures: PictureSet, limit: int) -> PictureSet:
    if limit < 1:
        raise RequestError(f"a limit of {limit} pictures leaves none; give a number from 1")
    return replace(pictures, keys=pictures.keys[:limit], captions=pictures.captions[:limit])


def in_memory(name: str, keys: Sequence[str], pictures: Sequence[Picture]) -> PictureSet:
    """Pictures that are there already, without texts."""
    return PictureSet(
        path=Path(name),
        keys=tuple(keys),
        read=lambda index: Image.fromarray(pictures[index]),
        captions=((),) * len(keys),
    )


def read_picture(path: Path) -> Image.Image:
    """A picture as it is seen: EXIF orientation applied, alpha over white, 16 bits reduced to 8, RGB.

    Raises:
        PictureError: it cannot be read to its end.
    """
    try:
        return decode_picture(path.read_bytes())
    except PictureError as error:
        raise PictureError(f"{path} cannot be measured: {error}; remove it or mend it") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read ({error.strerror})") from error


class Measured:
    """The pictures of a set that were measured, for a report.

    SHA-256 is over their sizes and RGB bytes in their order: what was measured, whatever the files are called.
    """

    def __init__(self, pictures: PictureSet) -> None:
        self._path, self.problems = pictures.path, list(pictures.problems)
        self._digest, self.num = hashlib.sha256(), 0

    def add(self, picture: Image.Image) -> None:
        self._digest.update(f"{picture.width}x{picture.height}\n".encode())
        self._digest.update(picture.tobytes())
        self.num += 1

    def facts(self, **more: Any) -> dict[str, Any]:
        """Of which folder how many, and how many are not in the numbers and why the first is not; without the path,
        which is nobody's business."""
        num_left_out, first = len(self.problems) or None, next(iter(self.problems), None)
        if first is not None:
            first = first.replace(f"{self._path}/", "")
        facts = {"path": shared_name(self._path), "pictures": self.num, "pixels_sha256": self._digest.hexdigest()}
        return facts | more | {"left_out": num_left_out, "first_left_out": first}


def from_files(folder: Path, files: Sequence[Path]) -> PictureSet:
    """Files below a folder, without texts."""
    keys = tuple(composed(file.relative_to(folder).as_posix()) for file in files)
    return PictureSet(path=folder, keys=keys, read=lambda index: read_picture(files[index]), captions=((),) * len(keys))


def from_source(source: Any) -> PictureSet:
    """The samples of an opened `sanakit.data.sources.data_source.DataSource` with their captions, "prompt" first."""
    samples = [source[index] for index in range(len(source))]
    if source.has_latents() and samples:
        raise RequestError(f"{source.path} holds latents and no pictures; give the pictures that they were made from")
    return PictureSet(
        path=source.path,
        keys=tuple(sample.key for sample in samples),
        read=source.image,
        captions=tuple(tuple(caption.text for caption in sample.captions) for sample in samples),
        problems=tuple(f"{problem.key}: {problem.detail}" for problem in source.problems if not problem.used),
    )
