"""Free memory is the kernel's estimate, or what a container's limit leaves."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sanakit.common import free_memory as room
from sanakit.common.free_memory import free_memory, is_out_of_memory, keep_freed_memory, refuse_lack, total_memory


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal:       24684084 kB\nMemFree:  1 kB\nMemAvailable:   1000 kB\n")
    return tmp_path


def test_the_kernels_estimate(system: Path) -> None:
    assert free_memory(system, system) == 1000 * 1024
    assert free_memory(system / "missing", system) is None


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", 1_024_000), ("2000000", 1_024_000), ("900000", 700_000), ("100000", 0)]
)
def test_a_containers_limit_counts_and_its_cached_files_do_not(system: Path, limit: str, expected: int) -> None:
    (system / "memory.max").write_text(f"{limit}\n")
    (system / "memory.current").write_text("500000\n")
    (system / "memory.stat").write_text("anon 200000\nfile 300000\nfile_mapped 5\n")
    assert free_memory(system, system) == expected


def limit_group(folder: Path, limit: int | str, *, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("limit_in_bytes", "usage_in_bytes", "total_"), 2: ("max", "current", "")}[version]
    (folder / f"memory.{names[0]}").write_text(f"{limit}\n")
    (folder / f"memory.{names[1]}").write_text("500000\n")
    cached = {1: "cache", 2: "file"}[version]
    (folder / "memory.stat").write_text(f"{names[2]}{cached} 300000\n{names[2]}shmem 100000\n")


@pytest.mark.parametrize(
    ("line", "group", "version"),
    [
        ("0::/system.slice/slurmstepd.scope/job_77/step_0/user/task_0", "system.slice/slurmstepd.scope/job_77", 2),
        ("0::/user.slice/user-1000.slice/run-r1.scope", "user.slice/user-1000.slice/run-r1.scope", 2),
        ("0::/../../pod/inner", "pod", 2),
        ("0::/job", "unified/job", 2),
        ("4:memory:/", "memory", 1),
        ("4:cpu,memory:/docker/0123", "memory", 1),
        ("4:memory:/slurm/uid_7/job_8/step_9", "memory/slurm/uid_7/job_8", 1),
    ],
)
def test_the_lowest_limit_of_the_groups_above_counts(tmp_path: Path, line: str, group: str, version: int) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(f"3:pids:/elsewhere\n{line}\n")
    (tmp_path / "meminfo").write_text("MemAvailable: 500000000 kB\n")
    limit_group(tmp_path / group, 4_000_000, version=version)
    limit_group(tmp_path / "memory/slurm/uid_7/job_8/step_9", 9223372036854771712, version=1)
    limit_group(tmp_path / "system.slice/slurmstepd.scope/job_77/step_0", "max")
    assert free_memory(tmp_path, tmp_path) == 4_000_000 - 500_000 + 200_000
    assert total_memory(tmp_path, tmp_path) == 4_000_000


def test_all_of_the_memory_is_no_more_than_a_containers(tmp_path: Path) -> None:
    whole = total_memory(tmp_path, tmp_path)
    (tmp_path / "memory.max").write_text("max")
    assert total_memory(tmp_path, tmp_path) == whole
    (tmp_path / "memory.max").write_text("1000000")
    assert total_memory(tmp_path, tmp_path) == (None if whole is None else 1_000_000)


@pytest.mark.parametrize(("kind", "pages"), [("RLIMIT_AS", 100), ("RLIMIT_DATA", 30)])
def test_the_limits_of_a_shell_count(system: Path, monkeypatch: pytest.MonkeyPatch, kind: str, pages: int) -> None:
    resource = pytest.importorskip("resource")
    (system / "self").mkdir()
    (system / "self" / "statm").write_text("100 50 20 1 0 30 0\n")
    set_to = {getattr(resource, kind): 900_000}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (set_to.get(which, resource.RLIM_INFINITY), -1))
    assert free_memory(system, system) == 900_000 - pages * resource.getpagesize()
    assert total_memory(system, system) == 900_000


def test_where_the_kernel_begins_to_slow_a_group_down_counts_as_its_limit(system: Path) -> None:
    (system / "memory.max").write_text("900000")
    (system / "memory.high").write_text("800000")
    (system / "memory.current").write_text("500000")
    assert free_memory(system, system) == 300_000  # without a table nothing is known to be let go
    (system / "memory.stat").write_text("file 100000\nshmem 150000\n")
    assert free_memory(system, system) == 300_000
    (system / "memory.current").unlink()
    assert free_memory(system, system) == 1_024_000  # nobody tells how much of it is taken
    assert total_memory(system, system) == 800_000


@pytest.mark.parametrize(
    "words",
    [
        "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
        "DefaultCPUAllocator: can't allocate memory",
        "[Errno 12] Cannot allocate memory",
        "CUDA out of memory. Tried to allocate 2 GiB",
    ],
)
def test_the_words_of_a_lack(words: str) -> None:
    assert is_out_of_memory(RuntimeError(words))
    with pytest.raises(MemoryError, match="memory"):
        refuse_lack(OSError(words))
    refuse_lack(OSError("no such file"))


_FAULTS = """
import resource, sys
from sanakit.common.free_memory import free_memory, keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(20):
    pieces = [bytearray(2**20) for _ in range(16)]
    del pieces
free_memory()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt, int(open("/proc/self/statm").read().split()[1]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such settings")
def test_a_process_keeps_what_it_freed_until_it_asks_what_is_free() -> None:
    def run(word: str) -> list[int]:
        told = subprocess.run([sys.executable, "-c", _FAULTS, word], capture_output=True, text=True, check=True)
        return [int(number) for number in told.stdout.split()]

    (faults, pages), (kept_faults, kept_pages) = run("give back"), run("keep")
    assert faults > 20 * 16 * 256 / 2 > 4 * 16 * 256 > kept_faults  # a page of 4 KiB each time, against once
    assert kept_pages < pages + 1024  # and nothing is kept afterwards


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.sys, "platform", "win32")
    assert not keep_freed_memory()
