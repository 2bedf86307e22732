"""The native library as Python sees it: found, checked, opened once, or not here for a reason that is told."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.autograd import forward_ad

from sanakit.common.errors import ConfigError
from sanakit.kernels.native.build import LIBRARY, SEAL, sources_hash

logger = logging.getLogger(__name__)

VARIABLE = "SANAKIT_NATIVE"
"""``auto`` or unset: the best that this processor runs; ``off``: torch alone; ``avx2`` and so on: this one."""

MULTIPLE = 16
"""Of numbers of channels, for every kernel: whole vectors of each variant."""

_BUILD = "python -m sanakit.kernels.native"
_MAX_THREADS = 256  # of a call, as in the C files
_SHARE = 12_000_000  # multiply-adds that are worth a thread, see num_threads
_is_paused = False


class NativeLibraryError(Exception):
    """A file that is not, or not any more, our library; one sentence, told where the choice is logged."""


class Tokens(ctypes.Structure):
    """``struct Tokens`` of the C files: where the heads of ``(B, N, heads, D)`` lie."""

    _fields_ = (("at", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("picture", "token", "head")))

    @classmethod
    def of(cls, x: torch.Tensor) -> Tokens:
        """Of a tensor on the CPU that ``side_by_side`` gave, and that lives as long as the call."""
        return cls(x.data_ptr(), *x.stride()[:3])


def side_by_side(x: torch.Tensor) -> torch.Tensor:
    """``(B, N, heads, D)`` with the heads of a token next to one another; copied where they lie otherwise."""
    return x if x.stride(3) == 1 and x.stride(2) == x.shape[3] else x.contiguous()


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """An open library; ``variant`` names the instruction set of its kernels, of the ``variants`` that run here."""

    handle: ctypes.CDLL
    variant: str
    variants: tuple[str, ...]

    @property
    def multiplies_halves(self) -> bool:
        """Whether it has products of bfloat16, for which the processor has instructions."""
        return bool(self.handle.sanakit_has_dots(self.variant.encode()))

    @property
    def multiplies_bytes(self) -> bool:
        """Whether it has products of int8: on AVX2, and on AVX-512 where there are dot products of bytes (VNNI)."""
        return bool(self.handle.sanakit_has_bytes(self.variant.encode()))

    def call(self, kernel: str, arguments: ctypes.Structure, dtype: torch.dtype = torch.float32) -> None:
        """Run ``sanakit_<kernel>``, or its like for tensors of bfloat16; it holds no lock of Python's.

        Raises:
            MemoryError: there was none for what the kernel keeps while it runs.
        """
        door = f"sanakit_{kernel}_bfloat16" if dtype == torch.bfloat16 else f"sanakit_{kernel}"
        status = getattr(self.handle, door)(self.variant.encode(), ctypes.byref(arguments))
        if status == 1:
            raise MemoryError(f"not enough memory for the native kernel {kernel}")
        assert status == 0, (kernel, status)

    def keep_memory(self, keep: bool) -> None:
        """Whether this thread keeps what a kernel needs while it runs for the next one; else what was kept goes."""
        self.handle.sanakit_keep_memory(int(keep))


def num_threads(work: float) -> int:
    """As many as torch uses, but none for less than a quarter of a millisecond: a thread is made in 30 microseconds
    where a core is free for it, and waits for milliseconds where none is, while the call waits for it.

    Args:
        work: multiply-adds of a product that would take as long on one core.
    """
    return max(min(torch.get_num_threads(), _MAX_THREADS, int(work // _SHARE)), 1)


def address(tensor: torch.Tensor | None) -> int | None:
    """Where the numbers of a contiguous tensor of the CPU begin, float32 or bfloat16; None for None."""
    if tensor is None:
        return None
    assert tensor.dtype in (torch.float32, torch.bfloat16)
    assert tensor.device.type == "cpu"
    assert tensor.is_contiguous()
    return tensor.data_ptr()


@contextmanager
def torch_alone() -> Iterator[None]:
    """Within it, in any thread, torch does all work, as where there is no library: to be measured beside it."""
    global _is_paused
    before, _is_paused = _is_paused, True
    try:
        yield
    finally:
        _is_paused = before


def takes(*tensors: torch.Tensor, gradients: bool = False, halves: bool = False) -> bool:
    """Whether the library is here and may compute with these: on the CPU, all of one dtype, float32.

    Where torch casts (autocast), only records (its compiler) or differentiates forward, it may not.

    Args:
        gradients: whether the kernel has a backward pass; else nobody may want one.
        halves: whether it also knows bfloat16, of which nobody may want gradients.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or _is_paused or native_library() is None:
        return False
    dtype = torch.bfloat16 if halves and tensors[0].dtype == torch.bfloat16 else torch.float32
    learning = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    if learning and not (gradients and dtype == torch.float32):
        return False
    return forward_ad._current_level < 0 and all(_is_plain(each, dtype) for each in tensors)


def _is_plain(x: torch.Tensor, dtype: torch.dtype) -> bool:
    usual = type(x) in (torch.Tensor, torch.nn.Parameter) and x.layout == torch.strided
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(x)  # by vmap and grad of torch.func: it has no memory
    return usual and not wrapped and x.dtype == dtype and x.device.type == "cpu"


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """``(B, C, H, W)`` as a contiguous ``(B, H, W, C)``, copied where it does not lie so."""
    return x.permute(0, 2, 3, 1).contiguous()


def open_library(file: Path = LIBRARY, variant: str | None = None) -> NativeLibrary:
    """Check a library and open it, with its best variant or with the one that is named.

    It is opened only if it is the very file that was built from the C files of this version: another one might take
    other arguments, and a damaged one would end the process.

    Raises:
        NativeLibraryError: there is none, it is damaged or of other sources, or the variant does not run here.
    """
    try:
        seal, content = json.loads((file.parent / SEAL).read_bytes()), file.read_bytes()
    except FileNotFoundError:
        raise NativeLibraryError(f"it was not built; {_BUILD} builds it") from None
    except (OSError, ValueError) as error:
        raise NativeLibraryError(f"{file} cannot be read ({error}); {_BUILD} makes it anew") from None
    if not isinstance(seal, dict) or seal.get("sha256") != hashlib.sha256(content).hexdigest():
        raise NativeLibraryError(f"{file} is damaged; {_BUILD} makes it anew")
    if seal.get("sources") != sources_hash():
        raise NativeLibraryError(f"{file} was built from other C files than these; {_BUILD} makes it anew")
    try:
        handle = ctypes.CDLL(str(file))
    except OSError as error:
        raise NativeLibraryError(f"{file} does not run here ({error}); {_BUILD} makes it anew") from None
    variants = tuple(_variants(handle))
    if variant is not None and variant not in variants:
        raise NativeLibraryError(f"{variant} does not run here, but auto, off, {' and '.join(variants)} do")
    return NativeLibrary(handle=handle, variant=variant or variants[0], variants=variants)


@cache
def native_library() -> NativeLibrary | None:
    """The library that this process uses, chosen when it is first asked for and logged; None where torch does all.

    Raises:
        ConfigError: ``$SANAKIT_NATIVE`` names what cannot be had here.
    """
    library, reason = find_library()
    wanted = _wanted()
    if library is None and wanted not in ("auto", "off"):
        raise ConfigError(f"{VARIABLE}={wanted} cannot be: {reason}")
    logger.info("native kernels: %s", library.variant if library else f"none, torch does their work ({reason})")
    return library


def find_library() -> tuple[NativeLibrary | None, str]:
    """The library as the environment asks for it, or why there is none."""
    wanted = _wanted()
    if wanted == "off":
        return None, f"{VARIABLE} is off"
    try:
        return open_library(variant=None if wanted == "auto" else wanted), ""
    except NativeLibraryError as error:
        return None, str(error)


def _wanted() -> str:
    return os.environ.get(VARIABLE, "").strip().lower() or "auto"


def _variants(handle: Any) -> list[str]:
    handle.sanakit_variant.restype = ctypes.c_char_p
    names: list[str] = []
    while name := handle.sanakit_variant(len(names)):
        names.append(name.decode())
    return names
