"""Paths as people write them, which files are pictures, and the walk by which every command finds them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

UNREADABLE_SUFFIXES = frozenset({".heic", ".heif", ".jxl", ".jp2"})
"""Known to be pictures, and told that they cannot be read."""
PICTURE_SUFFIXES = UNREADABLE_SUFFIXES | {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pbm",
    ".pnm",
}  # fmt: skip
CLIP_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg"})
MEDIA_SUFFIXES = PICTURE_SUFFIXES | CLIP_SUFFIXES

Tell = Callable[[Path, str], None]
"""Told a path and what is wrong with it."""


def as_path(name: str | Path) -> Path:
    """The path that is meant: ``~`` at its start is a home folder, which a shell says only where nothing is before it
    (``--output=~/x`` and quotes keep it). A ``~name`` of nobody stays as it is."""
    return Path(os.path.expanduser(name))


def composed(name: str) -> str:
    """A name in one of Unicode's normal forms: macOS and its archives write é as two signs, tables as one."""
    return unicodedata.normalize("NFC", name)


def as_there(path: Path) -> Path:
    """The path in the normal form that its name has on the disk; as it is where there is none."""
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, str(path)))
        if other != path and not os.path.lexists(path) and os.path.lexists(other):
            return other
    return path


def shared_name(path: str | Path) -> str:
    """The last name of a place, which is all that pictures and reports tell others of it."""
    return Path(os.path.abspath(as_path(path))).name


def is_picture(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_clip(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in CLIP_SUFFIXES


def is_medium(path: Path) -> bool:
    """Whether it is a picture or a clip, by its name."""
    return path.suffix.lower() in MEDIA_SUFFIXES


def is_medium_name(name: str) -> bool:
    """Whether a text is a name as pictures and clips have it."""
    return os.path.splitext(name.strip())[1].lower() in MEDIA_SUFFIXES


def is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def walk(folder: Path, tell: Tell = lambda path, fault: None) -> Iterator[Path]:
    """Every visible file below ``folder``, links followed (each folder once), folder by folder in order of names.

    Names that begin with a dot (``._a.png`` of macOS among them) and ``__MACOSX`` are not visible. A link to nothing is
    a file. ``tell`` hears of folders that cannot be read, and of pipes, sockets and devices: they are left out.
    """
    yield from _walk(folder, tell, set())


def pictures_below(folder: Path) -> list[Path]:
    """The pictures of a walk, by their names below ``folder``."""
    found = (path for path in walk(folder) if is_picture(path))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path, tell: Tell, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if is_visible(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        tell(folder, f"the folder cannot be read: {error.strerror or error}")
        return
    below = []
    for entry in entries:
        path = folder / entry.name
        if _holds(entry.is_dir):
            below.append(path)
        elif _holds(entry.is_file) or (entry.is_symlink() and not os.path.exists(path)):
            yield path
        else:
            tell(path, "it is a pipe, a socket or a device, and no file")
    for path in below:
        yield from _walk(path, tell, seen)


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a circle of links
        return False
