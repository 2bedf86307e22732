"""Where the members of a tar lie, so that each can be read by offset; also of a tar that is cut off or damaged."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO, NamedTuple


class Member(NamedTuple):
    """One regular file inside a tar."""

    name: str
    offset: int  # of its content
    size: int


def index_tar(path: Path) -> tuple[list[Member], str | None]:
    """The members that are whole, in order, and what is wrong with the tar (a sentence), if anything is.

    Tars that were glued to it (``cat b.tar >> a.tar``) are read as well.

    Raises:
        OSError: the file cannot be read.
    """
    members: list[Member] = []
    size, start, fault = path.stat().st_size, 0, None
    if size == 0:
        return [], "the file is empty"
    with path.open("rb") as file:
        while fault is None and start < size:
            fault, end = _index_one(file, start, size, members)
            start = _next_block(file, end, size) if fault is None else size
    return members, fault


def _index_one(file: BinaryIO, start: int, size: int, members: list[Member]) -> tuple[str | None, int]:
    """Add the members of the tar that begins at ``start``; what is wrong with it, and where it ends."""
    file.seek(start)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if info.offset_data + info.size > size:
                    return f"it is cut off inside {info.name}; {_count(members)}", size
                if info.isreg():
                    members.append(Member(info.name.removeprefix("./"), info.offset_data, info.size))
            end = archive.offset
    except (tarfile.TarError, ValueError, EOFError) as error:
        if not members:
            return f"it is no uncompressed tar, or damaged from the start ({error})", size
        return f"it is cut off or damaged ({error}); {_count(members)}", size
    return _fault_at_end(file, end, members), end


def _fault_at_end(file: BinaryIO, end: int, members: list[Member]) -> str | None:
    """A whole tar ends with blocks of zeros; tarfile also stops, silently, at a header that makes no sense."""
    file.seek(max(0, end - 512))
    blocks = file.read(1024)
    if any(blocks[-512:]) and len(blocks) == 1024:
        return f"it is damaged at byte {end}; {_count(members)}"
    if not blocks.endswith(bytes(512)):
        return f"it lacks the mark at its end, so it may be cut off; {_count(members)}"
    return None


def _next_block(file: BinaryIO, end: int, size: int) -> int:
    """The first block from ``end`` on that is not all zeros, where a tar that was glued on begins; else the end."""
    file.seek(end)
    while chunk := file.read(1 << 20):
        if kept := chunk.lstrip(b"\0"):
            return (file.tell() - len(kept)) // 512 * 512
    return size


def _count(members: list[Member]) -> str:
    return f"the {len(members)} files before that are used" if members else "nothing before that can be used"
