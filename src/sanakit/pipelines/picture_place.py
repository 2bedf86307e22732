"""Where pictures go: one file, or a folder in which every picture gets a readable name."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path

if TYPE_CHECKING:
    from PIL import Image

    from sanakit.pipelines.picture_file import Carried
    from sanakit.pipelines.record import PictureRecord

ImageFormat = Literal["png", "jpeg", "webp"]
_SUFFIXES: dict[str, ImageFormat] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
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
    """Understand where pictures are to go, and as what.

    An existing folder, a name with a slash at its end, and a name without a suffix are folders; a name with the
    suffix of a picture is a file in a folder that is there.

    Raises:
        RequestError: the two contradict each other, a file is to take several pictures, or its folder is not there.
    """
    if image_format is not None and image_format not in get_args(ImageFormat):
        raise RequestError(f"format={image_format} is not offered; use png, jpeg or webp")
    if output is not None and (not isinstance(output, (str, Path)) or not str(output).strip() or "\0" in str(output)):
        raise RequestError(f"output={output!r} names no place; name a file such as picture.png, or a folder")
    path = as_path(output or ".")
    if len(os.fsencode(path.name)) > _MAX_NAME_BYTES:
        raise RequestError(f"output= ends in a name of {len(path.name)} characters; choose a shorter one")
    if output is None or path.is_dir() or str(output).endswith(("/", os.sep)) or not path.suffix:
        return OutputPlace(folder=path, file=None, image_format=_SUFFIXES[f".{image_format or 'png'}"])
    suffix = _SUFFIXES.get(path.suffix.lower())
    if suffix is None:
        raise RequestError(f"output={output} is no picture; end it with .png, .jpg or .webp, or with / for a folder")
    if image_format is not None and suffix != image_format:
        raise RequestError(f"output={output} and format={image_format} contradict each other; leave one out")
    if num_images > 1:
        raise RequestError(
            f"output={output} is one file for {num_images} pictures; give a folder, such as {path.stem}/"
        )
    if not path.parent.exists():
        raise RequestError(f"output={output} lies in a folder that does not exist; make {path.parent} first")
    return OutputPlace(folder=path.parent, file=path, image_format=suffix)


def slug(prompt: str) -> str:
    """A prompt as part of a file name: letters and digits of any alphabet, at most 80 bytes."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt).lower().replace("_", " "))
    text = "-".join(words).encode("utf-8", "ignore")[:_MAX_SLUG_BYTES].decode("utf-8", "ignore").strip("-")
    return text or "picture"
