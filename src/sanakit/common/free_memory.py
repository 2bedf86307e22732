"""How much memory the machine has and how much may still be taken, within the limits of a container, job or shell; and
what a process keeps of what it has freed."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # what malloc.h of glibc calls M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
USUAL_PIECE, ANY_PIECE = 32 * 2**20, 2**31 - 1  # the most that glibc comes to by itself, and the most that it takes


def keep_freed_memory(largest: int = USUAL_PIECE) -> bool:
    """From now on the process keeps what it frees for what it needs next, and False where that cannot be asked for.

    glibc gives the top of the heap and all large pieces back to the kernel as soon as they are free; the tensors of a
    step are then zeroed page by page again in the next one. A choice for a whole process, which none but our own makes.

    Args:
        largest: pieces of more bytes are given back as before. Kept ones need not lie as the next ones fit, so that
            pieces that are a good part of all memory, such as those of a decoder, would raise the peak.
    """
    if (libc := _glibc()) is None:
        return False
    return bool(libc.mallopt(_MMAP_THRESHOLD, largest) and libc.mallopt(_TRIM_THRESHOLD, -1))


def give_back_freed_memory() -> None:
    """Where the C library can: what is free in the process becomes free for all."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None  # musl has neither


def free_memory(proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Bytes that can be allocated without swapping and without being killed; ``None`` where the system does not tell.

    The kernel's own estimate, and what is left of every limit on this process's control groups: files that a group
    keeps in memory, as mapped weights are, count as free there, because they are let go when memory is needed. What the
    process itself has freed and kept is given back first, and so counts as free.
    """
    give_back_freed_memory()
    try:
        available = _table(proc / "meminfo")["MemAvailable:"] * 1024
    except (OSError, ValueError, KeyError):  # not Linux
        return None
    lefts = (limit.left for limit in _limits(proc, cgroup) if limit.left is not None)
    return max(min([available, *lefts]), 0)


def process_memory(*, peak: bool = False, proc: Path = PROC) -> int | None:
    """Bytes of this process in memory, now or at its ``peak``; ``None`` where the system does not tell."""
    try:
        lines = (proc / "self" / "status").read_text().splitlines()
        name = "VmHWM:" if peak else "VmRSS:"
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
    except (OSError, ValueError, IndexError, StopIteration):  # not Linux
        return None


def total_memory(cgroup: Path = CGROUP, proc: Path = PROC) -> int | None:
    """Bytes of memory, or the lowest limit of a container or job; ``None`` where the system does not tell."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    return min([physical, *(limit.most for limit in _limits(proc, cgroup))])


def is_out_of_memory(error: object) -> bool:
    """Whether ``error`` is one of the ways in which Python, torch and the system say that memory ran out."""
    words = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(word in str(error).lower() for word in words)


def refuse_lack(error: Exception) -> None:
    """Raises MemoryError if memory ran out: no file of a user's is blamed for that."""
    if is_out_of_memory(error):
        raise MemoryError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Limit:
    """Of one control group, in bytes."""

    most: int
    left: int | None  # None where its use is not told


@dataclass(frozen=True, slots=True)
class _Files:
    """What the files of a control group are called in one version of the kernel's interface."""

    limits: tuple[str, ...]
    used: str
    cached: str  # entries of memory.stat
    shared: str  # in memory without a file to go back to, and counted among the cached


_FILES = {
    1: _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_cache", "total_shmem"),
    2: _Files(("memory.max", "memory.high"), "memory.current", "file", "shmem"),
}


def _limits(proc: Path, cgroup: Path) -> Iterator[_Limit]:
    """Of this process, of its group and of all above it: a job's limit is often set on a group above its steps."""
    yield from _own_limits(proc)
    for folder, version in control_groups("memory", proc, cgroup):
        files = _FILES[version]
        used = _number(folder / files.used)
        for name in files.limits:
            if (most := _number(folder / name)) is not None:
                kept = _reclaimable(folder / "memory.stat", files)
                yield _Limit(most, None if used is None else most - used + kept)


def _own_limits(proc: Path) -> Iterator[_Limit]:
    """What ``ulimit -v`` and ``ulimit -d`` set: all addresses of the process, and those of its data."""
    try:
        import resource

        pages = [int(number) for number in (proc / "self" / "statm").read_text().split()]
        used = {resource.RLIMIT_AS: pages[0], resource.RLIMIT_DATA: pages[5]}
    except (ImportError, OSError, ValueError, IndexError):  # Windows, or not Linux
        return
    for kind, number in used.items():
        most = resource.getrlimit(kind)[0]
        if most != resource.RLIM_INFINITY:
            yield _Limit(most, most - number * resource.getpagesize())


def control_groups(controller: str, proc: Path = PROC, cgroup: Path = CGROUP) -> Iterator[tuple[Path, int]]:
    """The folders of this process's groups that limit memory or cpu, each with its version of the kernel's interface.
    Within a container its own group may be the root, and its path be that outside."""
    yield cgroup, 2
    yield cgroup / controller, 1
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        inside = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        levels = [level for level in (inside, *inside.parents) if level.name]
        if not controllers:
            yield from ((root / level, 2) for root in (cgroup, cgroup / "unified") for level in levels)
        elif controller in controllers.split(","):
            yield from ((cgroup / controller / level, 1) for level in levels)


def _reclaimable(stat: Path, files: _Files) -> int:
    try:
        table = _table(stat)
    except (OSError, ValueError):
        return 0
    return max(table.get(files.cached, 0) - table.get(files.shared, 0), 0)


def _number(path: Path) -> int | None:
    """None where there is no such file, and for the word "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _table(path: Path) -> dict[str, int]:
    """A file of lines of a name and a number."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}
