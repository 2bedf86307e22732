"""The results of one pass over the samples, kept in Parquet parts so that a stopped curation goes on after the last."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sanakit.common.errors import optional
from sanakit.common.files import as_utf8, written_aside
from sanakit.data.curation.steps import Row
from sanakit.data.sources.parquet import for_arrow

Schema = Any  # pyarrow has no types

logger = logging.getLogger(__name__)

_WHY = "curation writes Parquet; run: pip install 'sanakit[data]'"


class Parts:
    """A folder of ``part-00000.parquet`` ..., in the order of the samples. A part that is there is whole."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder = folder
        self.schema = schema
        self._counts = self._find()

    def __len__(self) -> int:
        """Rows that are finished."""
        return sum(self._counts)

    def __iter__(self) -> Iterator[Row]:
        """The rows, one part in memory at a time."""
        pq = parquet()
        for number in range(len(self._counts)):
            yield from pq.read_table(for_arrow(self._path(number)), schema=self.schema).to_pylist()

    def append(self, rows: list[Row]) -> None:
        """Write the next part.

        Raises:
            OutputError: it could not be written.
        """
        write_table(self._path(len(self._counts)), [rows], self.schema)
        self._counts.append(len(rows))

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"

    def _find(self) -> list[int]:
        """The rows of each part; a part that cannot be read (a crashed disk) is made again, with all after it."""
        pq = parquet()
        counts: list[int] = []
        while self._path(len(counts)).exists():
            path = self._path(len(counts))
            try:
                counts.append(pq.read_metadata(for_arrow(path)).num_rows)
            except (OSError, ValueError) as error:
                logger.warning("%s cannot be read (%s) and is made again", path, error)
                break
        for path in self.folder.glob("part-*.parquet"):
            if int(path.stem.removeprefix("part-")) >= len(counts):
                path.unlink()
        return counts


def write_table(path: Path, batches: Iterable[list[Row]], schema: Schema) -> None:
    """Write a Parquet file; one batch of rows is one row group.

    Raises:
        OutputError: it could not be written.
    """
    pq = parquet()
    with (
        written_aside(path, locked=True) as building,
        building.open("wb") as file,
        pq.ParquetWriter(file, schema) as writer,
    ):
        for rows in batches:
            writer.write_table(_table(rows, schema))


def _table(rows: list[Row], schema: Schema) -> Any:
    """File names that are not UTF-8 are written with escapes, since Parquet cannot hold them."""
    table = arrow().Table
    try:
        return table.from_pylist(rows, schema=schema)
    except UnicodeEncodeError:
        return table.from_pylist([_escaped(row) for row in rows], schema=schema)


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return as_utf8(value).decode("utf-8")
        case list():
            return [_escaped(item) for item in value]
        case dict():
            return {name: _escaped(item) for name, item in value.items()}
        case _:
            return value


def arrow() -> Any:
    """The module ``pyarrow``.

    Raises:
        MissingExtraError: it is not installed.
    """
    return optional("pyarrow", _WHY)


def parquet() -> Any:
    """The module ``pyarrow.parquet``; raises as ``arrow``."""
    return optional("pyarrow.parquet", _WHY)
