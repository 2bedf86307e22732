"""Tables that translate the tensor names of another layout into ours and back.

A layout is a ``KeyMap``: one row per kind of tensor. Rows are patterns such as ``"blocks.{n}.attention.qkv.{leaf}"``,
where ``{leaf}`` stands for a last name (``weight``, ``bias``, ...) and any other placeholder for a number. The same
rows are read in both directions, so what is written can always be read back, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Rename:
    """The same tensor under another name."""

    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Fuse:
    """Our tensor holds the rows of several of theirs, one after the other: ``qkv`` is ``q``, ``k`` and ``v``."""

    ours: str
    theirs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pointwise(Rename):
    """Our matrix ``(out, in)`` is their 1x1 convolution ``(out, in, 1, 1)``; a bias is the same in both."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Theirs holds a tensor that we compute instead; ``reason`` says from what."""

    theirs: str
    reason: str
    unwritten: str = ""  # what comes of it where a file that we write is read; "" if it is not missed


Row = Rename | Fuse | Pointwise | Drop


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one of our tensors lies in a file: its rows are those of ``parts``, in this order."""

    parts: tuple[str, ...]
    pointwise: bool = False  # the file's tensor ends in two axes of length 1 that ours does not have


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a file's names mean: made from names alone, before any tensor is read."""

    origins: dict[str, Origin]
    dropped: dict[str, str]  # name in the file -> why it is not needed
    unknown: tuple[str, ...]  # names in the file that the layout does not have
    missing: tuple[str, ...]  # names that the file lacks although it holds their neighbours (k without q)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyMap:
    """One foreign layout, as rows; the first row that matches a name decides."""

    layout: str
    rows: tuple[Row, ...]

    @property
    def whole(self) -> KeyMap:
        """The same with every fused tensor in one piece, under the names of diffusers' ``fuse_projections``: ``to_qkv``
        and ``to_kv``. So a quantized network is written, whose scales belong to whole layers."""
        return replace(
            self, rows=tuple(Rename(row.ours, _fused_name(row)) if isinstance(row, Fuse) else row for row in self.rows)
        )

    def renamed(self, layout: str, segments: Mapping[str, str]) -> KeyMap:
        """The same in a layout that calls some segments of its names otherwise: from ours here to those there."""

        def theirs(name: str) -> str:
            return ".".join(segments.get(segment, segment) for segment in name.split("."))

        return replace(self, layout=layout, rows=tuple(_with_theirs(row, theirs) for row in self.rows))

    def plan(self, names: Iterable[str]) -> Plan:
        """Say for every name in a file which of our tensors it belongs to."""
        present = set(names)
        origins: dict[str, Origin] = {}
        dropped: dict[str, str] = {}
        unknown: list[str] = []
        missing: set[str] = set()
        for name in sorted(present):
            match self.find_theirs(name):
                case None:
                    unknown.append(name)
                case Drop(reason=reason), _:
                    dropped[name] = reason
                case row, values:
                    parts = tuple(pattern.format(**values) for pattern in _foreign_names(row))
                    missing.update(set(parts) - present)
                    assert not isinstance(row, Drop)
                    origins[row.ours.format(**values)] = Origin(parts, isinstance(row, Pointwise))
        return Plan(origins=origins, dropped=dropped, unknown=tuple(unknown), missing=tuple(sorted(missing)))

    def to_ours(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Translate tensors that form a whole; ``KeyError`` when half of a fused tensor is not there."""
        return {name: gather(tensors, origin) for name, origin in self.plan(tensors).origins.items()}

    def from_ours(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Translate our tensors into this layout; ``KeyError`` names one that the layout cannot hold."""
        theirs: dict[str, Tensor] = {}
        for name, ours in tensors.items():
            row, names = self.find_ours(name)
            tensor = ours[:, :, None, None] if isinstance(row, Pointwise) and ours.ndim == 2 else ours
            theirs.update(zip(names, tensor.chunk(len(names)) if len(names) > 1 else [tensor], strict=True))
        return theirs

    def find_ours(self, name: str) -> tuple[Row, tuple[str, ...]]:
        """The row of one of our tensors, and the names under which this layout stores it."""
        for row in self.rows:
            if not isinstance(row, Drop) and (found := _compile_pattern(row.ours).fullmatch(name)):
                return row, tuple(theirs.format(**found.groupdict()) for theirs in _foreign_names(row))
        raise KeyError(f"{name} has no place in the {self.layout} layout")

    def drops(self, name: str) -> bool:
        """Whether one of their tensors is left out."""
        found = self.find_theirs(name)
        return found is not None and isinstance(found[0], Drop)

    def find_theirs(self, name: str) -> tuple[Row, dict[str, str]] | None:
        for row in self.rows:
            for pattern in _foreign_names(row):
                if found := _compile_pattern(pattern).fullmatch(name):
                    return row, found.groupdict()
        return None


def _with_theirs(row: Row, renamed: Callable[[str], str]) -> Row:
    if isinstance(row, Fuse):
        return replace(row, theirs=tuple(map(renamed, row.theirs)))
    return replace(row, theirs=renamed(row.theirs))


def _fused_name(row: Fuse) -> str:
    """``attn.to_qkv`` for ``attn.to_q``, ``attn.to_k`` and ``attn.to_v``."""
    letters = "".join(name.rpartition(".to_")[2][0] for name in row.theirs)
    before, _, after = row.theirs[0].rpartition(".to_")
    return f"{before}.to_{letters}{after[1:]}"


def gather(tensors: Mapping[str, Tensor], origin: Origin) -> Tensor:
    """Put one of our tensors together; a tensor that is stored whole is passed on, not copied."""
    parts = rows_of(tensors, origin)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def gathered_shape(shapes: Mapping[str, tuple[int, ...]], origin: Origin) -> tuple[int, ...]:
    """The shape of one of our tensors, from those in the file."""
    parts = [shapes[name] for name in origin.parts]
    first = parts[0][:2] if origin.pointwise else parts[0]
    return (sum(part[0] for part in parts), *first[1:]) if len(parts) > 1 else first


def rows_of(tensors: Mapping[str, Tensor], origin: Origin) -> list[Tensor]:
    """The parts of one of our tensors, in our shape but for the number of rows."""
    parts = [tensors[name] for name in origin.parts]
    return [part.flatten(1) if part.ndim == 4 else part for part in parts] if origin.pointwise else parts


def _foreign_names(row: Row) -> tuple[str, ...]:
    return row.theirs if isinstance(row.theirs, tuple) else (row.theirs,)


@lru_cache(maxsize=1024)
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    """``blocks.{n}.{leaf}`` as a regular expression with one named group per placeholder."""
    pieces = _PLACEHOLDER.split(pattern)
    for index in range(1, len(pieces), 2):
        pieces[index] = f"(?P<{pieces[index]}>{'[a-z_]+' if pieces[index] == 'leaf' else '[0-9]+'})"
    for index in range(0, len(pieces), 2):
        pieces[index] = re.escape(pieces[index])
    return re.compile("".join(pieces))
