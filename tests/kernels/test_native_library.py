"""The native library is built where it can be, opened only if it is ours and whole, and done without otherwise."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path

import pytest

from sanakit.common.errors import ConfigError
from sanakit.kernels.native import build as building
from sanakit.kernels.native import library as opening
from sanakit.kernels.native.build import SEAL, BuildError, build
from sanakit.kernels.native.library import NativeLibraryError, open_library


@pytest.fixture(autouse=True)
def _chosen_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(opening.VARIABLE, raising=False)
    monkeypatch.setattr(opening, "native_library", opening.native_library.__wrapped__)


@pytest.fixture
def copied(built_library: Path, tmp_path: Path) -> Path:
    for file in (built_library, built_library.parent / SEAL):
        shutil.copy(file, tmp_path)
    return tmp_path / built_library.name


def test_the_best_that_runs_here_comes_first(built_library: Path) -> None:
    library = open_library(built_library)
    assert library.variant == library.variants[0]
    assert library.variants[-1] == "portable"
    assert open_library(built_library, "portable").variant == "portable"
    with pytest.raises(NativeLibraryError, match=r"avx1024 does not run here, but auto, off, .*portable do"):
        open_library(built_library, "avx1024")


@pytest.mark.parametrize("length", [0, 1, 4096, -1])
def test_a_file_that_was_cut_is_never_opened(copied: Path, length: int) -> None:
    copied.write_bytes(copied.read_bytes()[:length])
    with pytest.raises(NativeLibraryError, match=r"is damaged; python -m sanakit\.kernels\.native makes it anew"):
        open_library(copied)


def test_a_file_of_other_sources_is_never_opened(copied: Path) -> None:
    seal = json.loads((copied.parent / SEAL).read_text())
    (copied.parent / SEAL).write_text(json.dumps({**seal, "sources": "0" * 64}))
    with pytest.raises(NativeLibraryError, match="was built from other C files"):
        open_library(copied)


@pytest.mark.parametrize("seal", [b"", b"[]", b"{}", b"\xff", b"{" * 100_000])
def test_a_seal_that_is_none(copied: Path, seal: bytes) -> None:
    (copied.parent / SEAL).write_bytes(seal)
    with pytest.raises(NativeLibraryError):
        open_library(copied)


def test_a_file_of_another_machine(tmp_path: Path, copied: Path) -> None:
    """Whole by its hash, and no library of this system."""
    import hashlib

    copied.write_bytes(b"MZ of another system")
    seal = json.loads((copied.parent / SEAL).read_text())
    (copied.parent / SEAL).write_text(json.dumps({**seal, "sha256": hashlib.sha256(copied.read_bytes()).hexdigest()}))
    with pytest.raises(NativeLibraryError, match="does not run here"):
        open_library(copied)


def test_without_the_library_torch_does_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opening.open_library, "__defaults__", (tmp_path / "libsanakit.so", None))
    with caplog.at_level(logging.INFO, opening.__name__):
        assert opening.native_library() is None
    assert "native kernels: none" in caplog.text
    assert "python -m sanakit.kernels.native builds it" in caplog.text
    monkeypatch.setenv(opening.VARIABLE, "avx2")
    with pytest.raises(ConfigError, match="SANAKIT_NATIVE=avx2 cannot be: it was not built"):
        opening.native_library()


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(opening.VARIABLE, "off")
    assert opening.find_library() == (None, "SANAKIT_NATIVE is off")
    assert opening.native_library() is None


def test_no_compiler_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="there is no C compiler"):
        build(tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(BuildError, match="the compiler no-such-compiler cannot be run"):
        build(tmp_path)
    monkeypatch.setenv("CC", f"{sys.executable} -c raise(SystemExit('error:not-C'))")
    with pytest.raises(BuildError, match="failed"):
        build(tmp_path)
    monkeypatch.setattr(sys, "exit", lambda text: pytest.fail(text) if "Without it torch" not in text else None)
    building.main()
    assert list(tmp_path.iterdir()) == []


def test_short_calls_take_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening.torch, "get_num_threads", lambda: 3)
    assert [opening.num_threads(work) for work in (0, 20e6, 24e6, 1e12)] == [1, 1, 2, 3]
