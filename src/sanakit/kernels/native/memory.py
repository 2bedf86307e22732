"""Memory of results, used again while a network runs: pages that the system zeroes cost as much as a convolution."""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sanakit.kernels.native.library import native_library

LEAST = 2**18
"""Floats of what is kept; the C library is quick with smaller ones."""
SLACK = 1.25
"""A result may take memory that is so many times larger."""


class _Spare:
    """Blocks whose results nobody holds any more."""

    def __init__(self) -> None:
        self.blocks: list[torch.Tensor] = []
        self.open = True

    def give(self, block: torch.Tensor) -> None:
        if self.open:
            self.blocks.append(block)

    def take(self, floats: int) -> torch.Tensor:
        """The least that fits; where none does, the smaller ones go first, so that the peak stays what it was."""
        fitting = [index for index, each in enumerate(self.blocks) if floats <= each.numel() <= SLACK * floats]
        if fitting:
            return self.blocks.pop(min(fitting, key=lambda index: self.blocks[index].numel()))
        self.blocks[:] = [each for each in self.blocks if each.numel() > floats]
        return torch.empty(floats, dtype=torch.float32, device="cpu")


class _Current(threading.local):
    spare: _Spare | None = None


_current = _Current()


@contextmanager
def reused_memory() -> Iterator[None]:
    """While it lasts, results of native kernels in this thread take the memory of those that nobody holds any more, and
    what kernels need while they run that of the kernel before."""
    if _current.spare is not None:
        yield
        return
    spare, library = _Spare(), native_library()
    _current.spare = spare
    if library:
        library.keep_memory(True)
    try:
        yield
    finally:
        _current.spare, spare.open = None, False
        spare.blocks.clear()
        if library:
            library.keep_memory(False)


def new_result(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A contiguous tensor of the CPU with anything in it."""
    spare, numbers = _current.spare, math.prod(shape)
    floats = -(-numbers * dtype.itemsize // torch.float32.itemsize)
    if spare is None or floats < LEAST:
        return torch.empty(shape, dtype=dtype, device="cpu")
    block = spare.take(floats)
    held = (ctypes.c_float * floats).from_address(block.data_ptr())  # lives as long as the storage of the result
    weakref.finalize(held, spare.give, block).atexit = False
    return torch.frombuffer(held, dtype=dtype, count=numbers).view(shape)
