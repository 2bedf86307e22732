"""Rows of CSV and TSV as people's programs write them: any separator, Excel's first line, quotes that do not pair."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sanakit.common.paths import is_medium_name
from sanakit.data.sources.records import as_score, file_column, without_number

_LONGEST_FIELD = 2**31 - 1  # the standard library's own limit is 128 KiB, and rows of captions are longer
_SEPARATORS = ",;\t|"
_EXCEL = "sep="  # the first line of a file that Excel wrote, with the separator after it


class CsvRow(NamedTuple):
    """The cells of one row, and why it is none."""

    number: int  # of its last line
    cells: list[str]
    fault: str | None = None


class CsvTable:
    """A table in a text.

    Attributes:
        names: of the columns. A first line that names a picture is a row and no header: then the columns are called
            ``file_name`` and ``text``, ``text_2``, ..., those of numbers ``column_3``.
    """

    def __init__(self, text: str) -> None:
        csv.field_size_limit(_LONGEST_FIELD)
        self._lines = list(io.StringIO(text, newline=""))
        self._start, self._separator = 0, _separator_of(self._lines)
        if self._lines and self._lines[0].lower().startswith(_EXCEL):
            self._start = 1
        first = next(self._records(self._start, lambda line: False), None)
        self.names = [] if first is None else first.cells
        if first is not None and file_column(self.names) is None and any(map(_is_medium_name, self.names)):
            self.names = _names_for(self.names)
        elif first is not None:
            self._start = first.number
            self.names = _numbered(self.names)

    def rows(self) -> Iterator[CsvRow]:
        """All rows but the header; blank lines are none."""
        column = file_column(self.names)
        place = None if column is None else self.names.index(column)

        def begins_row(line: str) -> bool:
            cells = line.rstrip("\r\n").split(self._separator)
            return place is not None and place < len(cells) and _is_medium_name(cells[place].strip().strip('"'))

        yield from self._records(self._start, begins_row)

    def _records(self, start: int, begins_row: Callable[[str], bool]) -> Iterator[CsvRow]:
        while start < len(self._lines):
            reader = csv.reader(_from(self._lines, start), delimiter=self._separator)
            end = start
            while True:
                begin = end
                try:
                    cells, fault = next(reader), None
                except StopIteration:
                    return
                except csv.Error as error:
                    cells, fault = [], f"the row is no valid CSV ({error})"
                end = start + reader.line_num
                swallowed, odd = self._lines[begin + 1 : end], "".join(self._lines[begin:end]).count('"') % 2
                if swallowed and (odd or any(map(begins_row, swallowed))):
                    yield self._unpaired(begin)
                    start = begin + 1
                    break
                if cells or fault:
                    yield CsvRow(end, cells, fault)

    def _unpaired(self, place: int) -> CsvRow:
        """The row of one line, whose quotation mark is never closed and belongs to the text."""
        line = self._lines[place].rstrip("\r\n")
        cells = next(csv.reader([line], delimiter=self._separator, quoting=csv.QUOTE_NONE), [])
        fault = "a quotation mark in it is never closed, which would take in the rows after it"
        return CsvRow(place + 1, cells, None if len(cells) == len(self.names) else fault)


def _from(lines: Sequence[str], start: int) -> Iterator[str]:
    return (lines[place] for place in range(start, len(lines)))


def _separator_of(lines: Sequence[str]) -> str:
    first = lines[0].rstrip("\r\n") if lines else ""
    given = first[len(_EXCEL) :].replace("\\t", "\t")
    if first.lower().startswith(_EXCEL) and len(given) == 1:
        return given
    if first.lower().startswith(_EXCEL):  # an empty separator, or one that is none
        first = lines[1].rstrip("\r\n") if len(lines) > 1 else ""
    return max(_SEPARATORS, key=lambda separator: (_names_a_picture(first, separator), first.count(separator)))


def _names_a_picture(line: str, separator: str) -> bool:
    """Whether a line cut at a separator is a header with a column for pictures, or a row with a picture's name."""
    cells = next(csv.reader([line], delimiter=separator), [])
    return len(cells) > 1 and (file_column(cells) is not None or any(map(_is_medium_name, cells)))


def _is_medium_name(cell: str) -> bool:
    return is_medium_name(without_number(cell))


def _numbered(names: Sequence[str]) -> list[str]:
    """Columns of one name apart: ``text``, ``text_2``."""
    found: list[str] = []
    for name in names:
        number = sum(other.strip() == name.strip() for other in names[: len(found)]) + 1
        found.append(name if number == 1 else f"{name.strip()}_{number}")
    return found


def _names_for(cells: Sequence[str]) -> list[str]:
    names, texts, files = [], 0, 0
    for number, cell in enumerate(cells, 1):
        if _is_medium_name(cell) and not files:
            names.append("file_name")
            files = 1
        elif as_score(cell) is None:
            texts += 1
            names.append("text" if texts == 1 else f"text_{texts}")
        else:
            names.append(f"column_{number}")
    return names
