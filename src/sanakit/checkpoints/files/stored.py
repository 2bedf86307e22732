"""Where a tensor lies in a file. Each is mapped by itself when it is wanted, so that memory can let go of it alone."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sanakit.common.errors import CheckpointError
from sanakit.common.free_memory import refuse_lack


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A tensor of ``shape`` and ``stride`` from the ``offset``-th on of ``count`` numbers at byte ``start``; ``dtype``
    as torch spells it, without ``torch.``."""

    path: Path
    start: int
    count: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0

    def read(self) -> Tensor:
        """The tensor, mapped from the disk: what is written to it stays in memory.

        Raises:
            CheckpointError: torch has no such numbers.
            OSError, ValueError, RuntimeError: it lies outside of its numbers or of the file.
        """
        dtype = getattr(torch, self.dtype, None)
        if not isinstance(dtype, torch.dtype):
            raise CheckpointError(f"{self.path} holds {self.dtype} numbers, which this torch does not have")
        if not self.count:
            return torch.empty(self.shape, dtype=dtype)
        skipped = self.start % mmap.ALLOCATIONGRANULARITY
        with self.path.open("rb") as file:
            mapped = mmap.mmap(
                file.fileno(), skipped + self.count * dtype.itemsize, access=mmap.ACCESS_COPY,
                offset=self.start - skipped,
            )  # fmt: skip
        numbers = torch.frombuffer(mapped, dtype=dtype, count=self.count, offset=skipped)
        return numbers.as_strided(self.shape, self.stride, self.offset)  # which refuses what lies outside


@dataclass(frozen=True, slots=True)
class Made:
    """A tensor that is made of others as it is asked for, such as one of another layout."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]


Listed = Stored | Made | Tensor
"""What a header knows of a tensor."""


class StoredTensors(Mapping[str, Tensor]):
    """Tensors by name, of which each is mapped anew as it is asked for, and gone once nobody holds it.

    Raises, as one is asked for:
        CheckpointError: the file has changed since its header was read.
    """

    def __init__(self, stored: Mapping[str, Listed]) -> None:
        self._stored = stored

    def __getitem__(self, name: str) -> Tensor:
        stored = self._stored[name]
        if isinstance(stored, Tensor):
            return stored
        try:
            return stored.read()
        except (OSError, ValueError, RuntimeError) as error:
            refuse_lack(error)
            raise CheckpointError(f"{name} cannot be read from its file any more ({error}); try again") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)
