"""Where pictures go: one file, or a folder in which every picture gets a readable name."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sanakit.common.errors import OutputError, RequestError
from sanakit.common.paths import as_path

ImageFormat = Literal["png", "jpeg", "webp"]
_SUFFIXES: dict[str, ImageFormat] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
_MAX_SLUG_BYTES = 80  # of the 255 that file systems allow a name
_MAX_NAME_BYTES = 230  # what is written beside its place has a longer name for a moment
_EXIF_BYTES_FOR_PROMPTS = 60_000  # of 65 000, the rest being settings and versions


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputPlace:
    """A checked answer to "where to?"; ``file`` is None where pictures are named after their prompts."""

    folder: Path
    file: Path | None
    image_format: ImageFormat

    def path_for(self, prompt: str, seed: int) -> Path:
        """The file of a picture of a prompt; see ``named``."""
        return self.named(f"{slug(prompt)}-seed{seed}")

    def named(self, stem: str) -> Path:
        """The file of a picture: in a folder always a new one, so nothing there is overwritten."""
        if self.file is not None:
            return self.file
        self.folder.mkdir(parents=True, exist_ok=True)
        suffix = ".jpg" if self.image_format == "jpeg" else f".{self.image_format}"
        path, number = self.folder / f"{stem}{suffix}", 1
        while path.exists():
            number += 1
            path = self.folder / f"{stem}-{number}{suffix}"
        return path


def choose_place(output: str | None, image_format: str | None, *, num_images: int) -> OutputPlace:
    """Understand ``--output`` and ``--format``.

    An existing folder, a name with a slash at its end, and a name without a suffix are folders; a name with the
    suffix of a picture is a file.

    Raises:
        RequestError: the two contradict each other, or a file is to take several pictures.
    """
    if image_format is not None and image_format not in get_args(ImageFormat):
        raise RequestError(f"--format {image_format} is not offered; use png, jpeg or webp")
    if output is not None and not output.strip():
        raise RequestError("--output is empty; name a file such as picture.png, or a folder")
    path = as_path(output or ".")
    if len(os.fsencode(path.name)) > _MAX_NAME_BYTES:
        raise RequestError(f"--output ends in a name of {len(path.name)} characters; choose a shorter one")
    if output is None or path.is_dir() or output.endswith(("/", os.sep)) or not path.suffix:
        return OutputPlace(folder=path, file=None, image_format=_SUFFIXES[f".{image_format or 'png'}"])
    suffix = _SUFFIXES.get(path.suffix.lower())
    if suffix is None:
        raise RequestError(f"--output {output} is no picture; end it with .png, .jpg or .webp, or with / for a folder")
    if image_format is not None and suffix != image_format:
        raise RequestError(f"--output {output} and --format {image_format} contradict each other; leave one out")
    if num_images > 1:
        raise RequestError(
            f"--output {output} is one file for {num_images} pictures; give a folder, such as {path.stem}/"
        )
    return OutputPlace(folder=path.parent, file=path, image_format=suffix)


def check_place(place: OutputPlace, num_bytes: int) -> None:
    """Find out before minutes are spent whether ``num_bytes`` can be written there; leaves nothing behind.

    Raises:
        RequestError: the folder of a file does not exist.
        OutputError: no rights, no space, or a file where a folder must be.
    """
    if place.file is not None and not place.folder.exists():
        raise RequestError(f"the folder {place.folder} of --output {place.file} does not exist; make it first")
    check_folder(place.folder, num_bytes)


def check_metadata(place: OutputPlace, texts: Sequence[str]) -> None:
    """Find out before minutes are spent whether prompts fit into a file: PNG takes any, EXIF is limited.

    Raises:
        RequestError: they do not.
    """
    longest = max(len(json.dumps(text)) for text in texts)
    if place.image_format != "png" and longest > _EXIF_BYTES_FOR_PROMPTS:
        raise RequestError(
            f"a prompt of {longest} bytes does not fit into the metadata of a {place.image_format} file, which holds "
            f"{_EXIF_BYTES_FOR_PROMPTS}; write a PNG, or add --no-metadata"
        )


def check_folder(folder: Path, num_bytes: int) -> None:
    """Whether ``num_bytes`` can be written into ``folder``, or into the folder where it will be made."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"{existing} is a file, and {folder} was to be a folder; choose another --output")
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"0" * 4096)
            probe.flush()
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise OutputError(f"{existing} cannot be written to ({error.strerror}); choose another --output") from error
    if free < num_bytes:
        raise OutputError(
            f"{existing} has {free / 1e6:.1f} MB free and {num_bytes / 1e6:.1f} MB may be needed; make room first"
        )


def slug(prompt: str) -> str:
    """A prompt as part of a file name: letters and digits of any alphabet, at most 80 bytes."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt).lower().replace("_", " "))
    text = "-".join(words).encode("utf-8", "ignore")[:_MAX_SLUG_BYTES].decode("utf-8", "ignore").strip("-")
    return text or "picture"
