"""Where the members of a tar lie, so that each can be read by offset; also of a tar that is cut off or damaged."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import NamedTuple


class Member(NamedTuple):
    """One regular file inside a tar."""

    name: str
    offset: int  # of its content
    size: int


def index_tar(path: Path) -> tuple[list[Member], str | None]:
    """The members that are whole, in order, and what is wrong with the tar (a sentence), if anything is.

    Raises:
        OSError: the file cannot be read.
    """
    members: list[Member] = []
    size = path.stat().st_size
    if size == 0:
        return [], "the file is empty"
    try:
        with tarfile.open(path, mode="r:") as archive:
            for info in archive:
                if info.offset_data + info.size > size:
                    return members, f"it is cut off inside {info.name}; {_count(members)}"
                if info.isreg():
                    members.append(Member(info.name.removeprefix("./"), info.offset_data, info.size))
            end = archive.offset
    except (tarfile.TarError, ValueError, EOFError) as error:
        if not members:
            return [], f"it is no uncompressed tar, or damaged from the start ({error})"
        return members, f"it is cut off or damaged ({error}); {_count(members)}"
    return members, _fault_at_end(path, end, members)


def _fault_at_end(path: Path, end: int, members: list[Member]) -> str | None:
    """A whole tar ends with blocks of zeros; tarfile also stops, silently, at a header that makes no sense."""
    with path.open("rb") as file:
        file.seek(max(0, end - 512))
        blocks = file.read(1024)
    if any(blocks[-512:]) and len(blocks) == 1024:
        return f"it is damaged at byte {end}; {_count(members)}"
    if not blocks.endswith(bytes(512)):
        return f"it lacks the mark at its end, so it may be cut off; {_count(members)}"
    return None


def _count(members: list[Member]) -> str:
    return f"the {len(members)} files before that are used" if members else "nothing before that can be used"
