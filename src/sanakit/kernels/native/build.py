"""Builds the native library from the C files beside this one: ``python -m sanakit.kernels.native``.

Only the standard library is used and nothing of ours is imported, because the package's build runs this file too.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "source"
LIBRARY = HERE / ("libsanakit.dylib" if sys.platform == "darwin" else "libsanakit.so")
SEAL = "libsanakit.json"
"""Beside the library: its own hash and that of its sources, so that it is known before it is loaded."""

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno", "-Wall")
SECONDS = 300


class BuildError(Exception):
    """The library could not be built; one sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """An instruction set: floats of a vector, and the block of a matrix product that its registers hold."""

    name: str
    width: int
    rows: int
    columns: int
    flags: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        sizes = (f"-DVARIANT={self.name}", f"-DWIDTH={self.width}", f"-DROWS={self.rows}", f"-DCOLUMNS={self.columns}")
        return (*sizes, *self.flags)


AVX = (
    Variant(name="avx512", width=16, rows=12, columns=2, flags=("-mavx512f", "-mfma", "-mprefer-vector-width=512")),
    Variant(name="avx2", width=8, rows=6, columns=2, flags=("-mavx2", "-mfma")),
)


def variants() -> tuple[Variant, ...]:
    """Of this kind of processor; the portable one is 16 bytes wide: SSE2, or NEON with its 32 registers."""
    wide = platform.machine() in ("x86_64", "AMD64")
    return (*(AVX if wide else ()), Variant(name="portable", width=4, rows=6, columns=2 if wide else 4))


def compiled() -> Iterator[Variant]:
    """Every variant, its kernels of bfloat16, and those for processors that multiply bfloat16."""
    for each in variants():
        yield each
        yield replace(each, name=f"{each.name}_halves", flags=(*each.flags, "-DHALVES"))
        if each.name == "avx512":
            yield replace(each, name="avx512_dots", flags=(*each.flags, "-mavx512bf16", "-DHALVES", "-DDOTS"))


def sources_hash() -> str:
    """SHA-256 of every file that the library is made of, this one too."""
    digest = hashlib.sha256()
    for file in (*sorted(SOURCE.glob("*.[ch]")), Path(__file__)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def build(folder: Path = HERE) -> Path:
    """Compile the library into ``folder``, whole or not at all; gives its path.

    Raises:
        BuildError: there is no compiler, it fails, or the folder cannot be written into.
    """
    compiler = _compiler()
    with tempfile.TemporaryDirectory(prefix="sanakit-build-") as scratch:
        made = Path(scratch) / LIBRARY.name
        objects = [_compile(compiler, made.parent, each.name, "kernels.c", each.options) for each in compiled()]
        hashed = f'-DSOURCES="{sources_hash()}"'
        objects.append(_compile(compiler, made.parent, "library", "library.c", (hashed,)))
        _run([*compiler, "-shared", "-o", str(made), *map(str, objects), "-pthread"])
        seal = {"sha256": hashlib.sha256(made.read_bytes()).hexdigest(), "sources": sources_hash()}
        try:
            _put(json.dumps(seal, indent=1).encode(), folder / SEAL)
            _put(made.read_bytes(), folder / LIBRARY.name)
        except OSError as error:
            raise BuildError(f"{folder} cannot be written into ({error.strerror}); ask who owns it") from None
    return folder / LIBRARY.name


def _compiler() -> list[str]:
    named = os.environ.get("CC", "").split()
    if named:
        return named
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    raise BuildError("there is no C compiler (cc, gcc or clang); install one, or name it in the variable CC")


def _compile(compiler: list[str], folder: Path, name: str, source: str, options: tuple[str, ...]) -> Path:
    target = folder / f"{name}.o"
    _run([*compiler, *FLAGS, *options, "-c", str(SOURCE / source), "-o", str(target)])
    return target


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the compiler {command[0]} cannot be run ({error})") from None
    if done.returncode:
        lines = (
            [line for line in done.stderr.splitlines() if "error" in line]
            or done.stderr.splitlines()
            or ["it said nothing"]
        )
        raise BuildError(f"the compiler {command[0]} failed ({lines[0][:200]}); GCC 10 or Clang 12 and later are known")


def _put(content: bytes, target: Path) -> None:
    """Under its name all at once: a process that has the old file open keeps it."""
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(beside, 0o644)
    os.replace(beside, target)


def main() -> None:
    try:
        sys.stdout.write(f"built {build()}\n")
    except BuildError as error:
        sys.exit(f"sanakit's native library was not built: {error}. Without it torch does the same work.")
