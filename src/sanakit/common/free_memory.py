"""How much memory the machine has, and how much of it programs may still take, within a container's limit."""

from __future__ import annotations

import os
from pathlib import Path


def free_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can be allocated without swapping and without being killed; ``None`` where the system does not tell.

    The kernel's own estimate, and what is left of a container's limit: files that it keeps in memory, as mapped
    weights are, count as free there, because they are let go when memory is needed.
    """
    try:
        available = _entry(proc / "meminfo", "MemAvailable:") * 1024
    except (OSError, ValueError):  # not Linux
        return None
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text()) - _entry(cgroup / "memory.stat", "file")
    except (OSError, ValueError):  # no container, or the word "max"
        return available
    return max(min(available, limit - used), 0)


def total_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of memory, or a container's limit where that is lower; ``None`` where the system does not tell."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    try:
        return min(physical, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):  # no container, or the word "max"
        return physical


def _entry(path: Path, name: str) -> int:
    """The number beside a name in a table of names and numbers; ``ValueError`` when it is not there."""
    for line in path.read_text().splitlines():
        key, *numbers = line.split()
        if key == name:
            return int(numbers[0])
    raise ValueError(f"{path} has no {name}")
