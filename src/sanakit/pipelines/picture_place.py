"""Where pictures go: one file, or a folder in which every picture gets a readable name."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path

if TYPE_CHECKING:
    from PIL import Image

    from sanakit.pipelines.picture_file import Carried
    from sanakit.pipelines.record import PictureRecord

ImageFormat = Literal["png", "jpeg", "webp"]
_SUFFIXES: dict[str, ImageFormat] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
F = TypeVar("F", bound=str)
_MAX_SLUG_BYTES = 80  # of the 255 that file systems allow a name
_MAX_NAME_BYTES = 230  # what is written beside its place has a longer name for a moment


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputPlace:
    """A checked answer to "where to?"; ``file`` is None where pictures are named after their prompts."""

    folder: Path
    file: Path | None
    image_format: ImageFormat

    @property
    def suffix(self) -> str:
        """Of files in the folder."""
        return ".jpg" if self.image_format == "jpeg" else f".{self.image_format}"

    def write(
        self, stem: str, image: Image.Image, record: PictureRecord | None, carried: Carried | None = None
    ) -> Path:
        """Write a picture and give its path: in a folder always a new one, so nothing there is overwritten.

        Raises:
            OutputError: as of ``write_image``.
        """
        from sanakit.pipelines.picture_file import NOTHING_CARRIED, write_image

        path = self.file or self.folder / f"{stem}{self.suffix}"
        carried = carried or NOTHING_CARRIED
        return write_image(path, image, record, self.image_format, carried=carried, new=self.file is None)


def choose_place(output: str | Path | None, image_format: str | None = None, *, num_images: int = 1) -> OutputPlace:
    """Understand where pictures are to go, and as what, as ``chosen`` does."""
    folder, file, found = chosen(output, image_format, _SUFFIXES, num=num_images)
    return OutputPlace(folder=folder, file=file, image_format=found)


def chosen(
    output: str | Path | None, wanted: str | None, suffixes: Mapping[str, F], *, num: int, what: str = "picture"
) -> tuple[Path, Path | None, F]:
    """A folder, the file in it where one is named, and its format.

    An existing folder, a name with a slash at its end, and a name without a suffix are folders; a name with one of
    ``suffixes`` is a file in a folder that is there. The first of their formats is taken where none is said.

    Raises:
        RequestError: the two contradict each other, a file is to take several, or its folder is not there.
    """
    formats = list(dict.fromkeys(suffixes.values()))
    known = next((each for each in formats if wanted in (None, each)), None)
    if known is None:
        raise RequestError(f"format={wanted} is not offered for {what}s; use {_one_of(formats)}")
    if output is not None and (not isinstance(output, (str, Path)) or not str(output).strip() or "\0" in str(output)):
        raise RequestError(f"output={output!r} names no place; name a file such as {what}.{formats[0]}, or a folder")
    path = as_path(output or ".")
    if len(os.fsencode(path.name)) > _MAX_NAME_BYTES:
        raise RequestError(f"output= ends in a name of {len(path.name)} characters; choose a shorter one")
    if output is None or path.is_dir() or str(output).endswith(("/", os.sep)) or not path.suffix:
        return path, None, known
    found = suffixes.get(path.suffix.lower())
    if found is None:
        ends = _one_of([next(suffix for suffix in suffixes if suffixes[suffix] == each) for each in formats])
        raise RequestError(f"output={output} is no {what}; end it with {ends}, or with / for a folder")
    if wanted not in (None, found):
        raise RequestError(f"output={output} and format={wanted} contradict each other; leave one out")
    if num > 1:
        raise RequestError(f"output={output} is one file for {num} {what}s; give a folder, such as {path.stem}/")
    if not path.parent.exists():
        raise RequestError(f"output={output} lies in a folder that does not exist; make {path.parent} first")
    return path.parent, path, found


def _one_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def slug(prompt: str) -> str:
    """A prompt as part of a file name: letters and digits of any alphabet, at most 80 bytes."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt).lower().replace("_", " "))
    text = "-".join(words).encode("utf-8", "ignore")[:_MAX_SLUG_BYTES].decode("utf-8", "ignore").strip("-")
    return text or "picture"
