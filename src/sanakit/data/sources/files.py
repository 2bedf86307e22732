"""The files of a folder and the texts in them, as people's machines leave them."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from sanakit.common.config import json_values
from sanakit.common.paths import as_path, composed, is_visible


def visible_files(folder: Path, suffix: str) -> list[Path]:
    """Those directly in ``folder``, by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() == suffix and is_visible(p.name) and p.is_file())


def key_of(path: Path, root: Path) -> str:
    """The path below the data set (outside of it the whole one) without its suffix, with ``/`` on every system and in
    one form of Unicode; a name may lead there in other words, through ``..``, a link, or from the root."""
    if ".." in path.parts or not path.is_relative_to(root):
        path, root = Path(os.path.realpath(path.parent), path.name), Path(os.path.realpath(root))
    own = path.relative_to(root) if path.is_relative_to(root) else path
    return stem_of(own).lstrip("/")


def stem_of(path: Path) -> str:
    """The path without its suffix, as files that belong together have it."""
    return composed(path.with_suffix("").as_posix())


def key_of_name(name: str) -> str | None:
    """The same of a name that a table gives; None if nothing is left of it."""
    plain = PurePosixPath(composed(name).replace("\\", "/"))
    return plain.with_suffix("").as_posix() if name.strip("./") else None


def read_text(path: Path, *, most: int | None = None) -> str:
    """The text of a file as ``decode_text`` has it.

    Args:
        most: bytes that it may have; a device has no end.

    Raises:
        ValueError: it cannot be read, has more, or is no text, in one sentence.
    """
    try:
        with path.open("rb") as file:
            content = file.read(-1 if most is None else most + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror or error}") from error
    if most is not None and len(content) > most:
        raise ValueError(f"it has more than {most} bytes")
    return decode_text(content)


def parse_json(text: str, what: str = "it") -> Any:
    """Plain values.

    Raises:
        ValueError: ``what`` is no valid JSON, in one sentence.
    """
    try:
        return json_values(text)
    except ValueError as error:
        raise ValueError(f"{what} is no valid JSON ({error})") from error


def decode_text(content: bytes) -> str:
    """UTF-8 with or without its mark, or UTF-16 or UTF-32 with its mark.

    Raises:
        ValueError: it is neither, in one sentence.
    """
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        if error.encoding.startswith(("utf-16", "utf-32")):
            raise ValueError("it is not UTF-8, nor whole in the coding that its mark says; save it as UTF-8") from None
        byte = content[error.start]
        raise ValueError(f"it is not UTF-8 (byte 0x{byte:02x} at {error.start}); save it as UTF-8") from None


def _encoding(content: bytes) -> str:
    """By its first bytes; the mark of UTF-32 begins with that of UTF-16."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def decode_loosely(content: bytes) -> str:
    """As ``decode_text``, but bytes that are not UTF-8 become lone surrogates, which ``is_clean`` finds."""
    if (encoding := _encoding(content)) != "utf-8-sig":
        return content.decode(encoding, errors="replace")
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="surrogateescape")


def is_clean(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def lines_of(text: str) -> list[str]:
    """Split at the line ends of Linux, Windows and old Macs only."""
    return re.split(r"\r\n|\r|\n", text)


class Bounds:
    """The folders of one data set: nothing of another gets into it, into its captions, shards and models.

    A row, an index or a link that leads elsewhere could bring any file of this machine there.

    Args:
        folder: its own. In a snapshot of the Hugging Face cache the files are links into ``blobs`` beside it.
        also: others, allowed by name.
    """

    def __init__(self, folder: Path, also: Sequence[str | Path] = ()) -> None:
        own = Path(os.path.realpath(folder))
        blobs = [parent.parent / "blobs" for parent in own.parents if parent.name == "snapshots"]
        self._folders = [own, *blobs, *(Path(os.path.realpath(as_path(each))) for each in also)]
        self._real_folder = lru_cache(10_000)(os.path.realpath)

    def outside(self, path: Path) -> Path | None:
        """Where a file lies, if that is in none of the folders."""
        is_plain = path.name != ".." and not os.path.islink(path)
        real = Path(self._real_folder(path.parent), path.name) if is_plain else Path(os.path.realpath(path))
        return None if any(real.is_relative_to(folder) for folder in self._folders) else real

    def fault(self, path: Path) -> str | None:
        """The same as a sentence."""
        if (real := self.outside(path)) is None:
            return None
        return (
            f"{path.name} lies outside of the data set, at {real}; allow its folder by name "
            f"(--also FOLDER, or also: in a recipe) if it belongs to it"
        )


def leads_out(name: str) -> bool:
    """Whether a name within a data set or an archive is that of a file outside of it."""
    plain = name.replace("\\", "/")
    return plain.startswith("/") or ".." in plain.split("/")
