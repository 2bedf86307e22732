"""A cache of features on disk: tensors by a key that says all that they depend on.

A folder holds packs, safetensors files of at most 128 MB that are whole or not there and never changed,
so a reader never sees half of one, and any number of processes may write into the same folder without locks: each
writes packs of its own. The names of tensors are ``KEY.CHECKSUM``, so a damaged entry is found and computed again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sanakit.common.config import json_values
from sanakit.common.errors import OutputError, PictureError
from sanakit.common.files import remove_stale, write_whole

logger = logging.getLogger(__name__)

PACK_BYTES = 128_000_000
PACK_SECONDS = 60.0  # what is lost at most when a run is killed
_DTYPES = {
    "BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "U8": torch.uint8, "I64": torch.int64,
}  # fmt: skip


class Entry(NamedTuple):
    """Where a tensor lies."""

    pack: Path
    start: int  # bytes from the start of the file
    end: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    checksum: int


def feature_key(*facts: str) -> str:
    """The key of what follows from these facts: their SHA-256 in hex."""
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogatepass")).hexdigest()


class FeatureStore:
    """Tensors of one folder, by key.

    Reading is safe from several threads. What other processes write after the store was opened is seen after
    ``refresh``. If two processes computed the same entry, the older one counts for all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packs: dict[Path, dict[str, Entry]] = {}
        self._index: dict[str, Entry] = {}
        self._contents: dict[Path, Tensor] = {}
        self._unreadable: set[Path] = set()
        self.refresh()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def refresh(self) -> None:
        """Look for packs that other processes have written or removed."""
        paths = sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []
        packs: dict[Path, dict[str, Entry]] = {}
        for path in paths:
            known = self._packs.get(path)
            found = _read_index(path) if known is None else known
            if found is None:
                self._unreadable.add(path)
            else:
                packs[path] = found
        self._packs = packs
        index: dict[str, Entry] = {}
        for entries in packs.values():
            for key, entry in entries.items():
                index.setdefault(key, entry)
        self._index = index

    def get(self, key: str) -> Tensor:
        """The tensor of a key; it lies in the file, so read it and do not write.

        Raises:
            KeyError: there is none.
            PictureError: its bytes are not those that were written.
        """
        entry = self._index[key]
        tensor = self._read(entry)
        if tensor is None:
            raise PictureError(
                f"a cached feature in {entry.pack} is damaged; the next start of the run, or `sanakit data cache`, "
                f"computes it again"
            )
        return tensor

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that have to be computed, each once; damaged entries are removed from disk here.

        This reads every byte of the entries that are there.

        Raises:
            OutputError: there are damaged entries and the folder cannot be written.
        """
        wanted = list(dict.fromkeys(keys))
        damaged: dict[Path, set[str]] = defaultdict(set)
        for key in wanted:
            entry = self._index.get(key)
            if entry is not None and self._read(entry) is None:
                damaged[entry.pack].add(key)
        for path in self._unreadable:
            logger.warning("%s is damaged and is removed; its features are computed again", path)
            self._remove(path)
        self._unreadable.clear()
        for path, bad in damaged.items():
            logger.warning("%d features in %s are damaged and are computed again", len(bad), path)
            self._rewrite_without(path, bad)
        if damaged:
            self.refresh()
            return self.missing(wanted)  # another pack may hold the same entry, whole or not
        return [key for key in wanted if key not in self._index]

    @contextmanager
    def writer(self) -> Iterator[FeatureWriter]:
        """A writer; what it was given is on disk when the block ends, also when it ends by an error.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        writer = FeatureWriter(self.folder)
        try:
            yield writer
        finally:
            writer.flush()
            self.refresh()

    def _read(self, entry: Entry) -> Tensor | None:
        """The tensor, or None if its bytes are not those that were written."""
        try:
            if entry.pack not in self._contents:  # torch maps the file without keeping it open
                size = entry.pack.stat().st_size
                self._contents[entry.pack] = torch.from_file(str(entry.pack), size=size, dtype=torch.uint8)
        except (OSError, RuntimeError):
            return None
        flat = self._contents[entry.pack][entry.start : entry.end]
        if len(flat) != entry.end - entry.start or _checksum(flat, entry.dtype, entry.shape) != entry.checksum:
            return None
        if entry.start % entry.dtype.itemsize:
            flat = flat.clone()
        return flat.view(entry.dtype).view(entry.shape)

    def _rewrite_without(self, path: Path, bad: set[str]) -> None:
        good = {key: entry for key, entry in self._packs.get(path, {}).items() if key not in bad}
        whole = {key: tensor for key, entry in good.items() if (tensor := self._read(entry)) is not None}
        if whole:
            write_pack(path.with_name(f"{path.name[:20]}-{uuid.uuid4().hex}.safetensors"), whole)  # as old as it was
        self._remove(path)
        self._contents.pop(path, None)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path} is damaged and cannot be removed ({error.strerror})") from error


class FeatureWriter:
    """Gathers tensors and writes them in packs. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: dict[str, Tensor] = {}
        self._num_bytes, self._since = 0, time.monotonic()
        remove_stale(folder)

    def put(self, key: str, tensor: Tensor) -> None:
        """Keep a tensor of any of the dtypes bfloat16, float16, float32, uint8 and int64.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        if not self._pending:
            self._since = time.monotonic()
        own = tensor.detach().to("cpu", copy=True).contiguous()  # what it is a part of may go on to change
        self._pending[key] = own
        self._num_bytes += own.nbytes
        if self._num_bytes >= PACK_BYTES or time.monotonic() - self._since >= PACK_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        pending, self._pending, self._num_bytes = self._pending, {}, 0
        if pending:
            # the time comes first, so that the oldest of several packs with the same key is the first by name
            write_pack(self._folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}.safetensors", pending)


def write_pack(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as one safetensors file, whole or not at all."""
    from safetensors.torch import save

    named = {f"{key}.{_checksum_of(tensor):08x}": tensor for key, tensor in tensors.items()}
    try:
        write_whole(path, save(named), sync=True)
    except OutputError as error:
        num_bytes = sum(tensor.nbytes for tensor in tensors.values())
        raise OutputError(
            f"the feature cache {path.parent} cannot be written: {error}; {num_bytes / 1e6:.1f} MB were to "
            f"go there, another folder with more room would do"
        ) from error


def _read_index(path: Path) -> dict[str, Entry] | None:
    """The entries of a pack from its header; None if that is damaged or the file has another length than it says."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            header = json_values(file.read(length)) if length <= size - 8 else None
        if header is None:
            return None
        header.pop("__metadata__", None)
        entries = dict(_entry(path, 8 + length, name, info) for name, info in header.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return entries if max((entry.end for entry in entries.values()), default=8 + length) == size else None


def _entry(path: Path, first: int, name: str, info: dict[str, Sequence[int]]) -> tuple[str, Entry]:
    key, _, checksum = name.partition(".")
    start, end = info["data_offsets"]
    shape = tuple(info["shape"])
    return key, Entry(path, first + start, first + end, _DTYPES[str(info["dtype"])], shape, int(checksum, 16))


def _checksum_of(tensor: Tensor) -> int:
    return _checksum(tensor.reshape(-1).view(torch.uint8), tensor.dtype, tuple(tensor.shape))


def _checksum(flat: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return zlib.crc32(flat.numpy().data, zlib.crc32(f"{dtype} {list(shape)}".encode()))
