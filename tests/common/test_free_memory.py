"""Free memory is the kernel's estimate, or what a container's limit leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanakit.common.free_memory import free_memory, total_memory


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


def test_all_of_the_memory_is_no_more_than_a_containers(tmp_path: Path) -> None:
    whole = total_memory(tmp_path)
    (tmp_path / "memory.max").write_text("max")
    assert total_memory(tmp_path) == whole
    (tmp_path / "memory.max").write_text("1000000")
    assert total_memory(tmp_path) == (None if whole is None else 1_000_000)
