"""The records of a table of captions, whatever kind of file it is: CSV, JSON lines, JSON or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.data.sources.collect import Findings
from sanakit.data.sources.csv_rows import CsvTable
from sanakit.data.sources.files import decode_loosely, lines_of, parse_json
from sanakit.data.sources.parquet import parquet_names, parquet_records
from sanakit.data.sources.records import file_column


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a table, or why it cannot be read."""

    where: str  # "metadata.csv:3", for messages
    record: Mapping[str, Any]
    fault: str | None = None


def rows_of(table: Path, root: Path, findings: Findings) -> Iterator[Row]:
    """The rows of a table of any kind; what is wrong with the table itself goes to ``findings``."""
    where = table.relative_to(root).as_posix()
    try:
        match table.suffix.lower():
            case ".csv" | ".tsv" | ".txt" | ".token":
                yield from _csv_rows(CsvTable(decode_loosely(table.read_bytes())), where)
            case ".jsonl":
                yield from _json_lines(decode_loosely(table.read_bytes()), where)
            case ".parquet":
                for number, record in enumerate(parquet_records(table), 1):
                    yield Row(f"{where}:{number}", record)
            case _:
                yield from json_rows(parse_json(decode_loosely(table.read_bytes())), where)
    except (ValueError, OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        findings.report(where, "bad_record", f"it cannot be read: {reason}")


def header_of(table: Path) -> list[str]:
    """The names of the columns, of JSON lines those in the first line that is an object; empty if it has none.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    if table.suffix.lower() == ".parquet":
        return parquet_names(table)
    with table.open("rb") as file:
        start = decode_loosely(file.read(1 << 20))
    if table.suffix.lower() == ".jsonl":
        return next((list(row.record) for row in _json_lines(start, table.name) if row.fault is None), [])
    return CsvTable(start).names


def _csv_rows(table: CsvTable, where: str) -> Iterator[Row]:
    if file_column(table.names) is None:
        raise ValueError(f"no column names the picture; it has {', '.join(table.names) or 'none'}")
    extra = f"the row has more than the {len(table.names)} fields of the header; quote texts that hold commas"
    for row in table.rows():
        cells: list[str | None] = [*row.cells, *[None] * (len(table.names) - len(row.cells))]
        fault = row.fault or (extra if any(cell.strip() for cell in row.cells[len(table.names) :]) else None)
        yield Row(f"{where}:{row.number}", dict(zip(table.names, cells, strict=False)), fault)


def _json_lines(text: str, where: str) -> Iterator[Row]:
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            yield _json_row(line, f"{where}:{number}")


def _json_row(line: str, where: str) -> Row:
    try:
        record = parse_json(line, "the line")
    except ValueError as error:
        return Row(where, {}, str(error))
    return Row(where, record) if isinstance(record, dict) else Row(where, {}, "the line is no JSON object")


def json_rows(content: Any, where: str) -> Iterator[Row]:
    """A list of records, ``{file name: caption or record}``, or COCO's ``images`` and ``annotations``."""
    match content:
        case {"images": list() as images, "annotations": list() as annotations}:
            yield from _coco_rows(images, annotations, where)
        case list():
            for number, record in enumerate(content, 1):
                fault = None if isinstance(record, dict) else "the entry is no JSON object"
                yield Row(f"{where}:{number}", record if fault is None else {}, fault)
        case dict():
            for name, value in content.items():
                yield _named_row(name, value, f"{where}:{name}")
        case _:
            raise ValueError("it is neither a list of records nor an object keyed by file name")


def _named_row(name: str, value: Any, where: str) -> Row:
    match value:
        case str() | list():
            return Row(where, {"file_name": name, "caption": value})
        case dict():
            return Row(where, {**value, "file_name": name})
        case _:
            return Row(where, {}, "the entry is neither a caption nor a record")


def _coco_rows(images: list[Any], annotations: list[Any], where: str) -> Iterator[Row]:
    names = {str(image.get("id")): image.get("file_name") for image in images if isinstance(image, dict)}
    captions: dict[str, list[str]] = {}
    for annotation in annotations:
        if isinstance(annotation, dict) and isinstance(annotation.get("caption"), str):
            captions.setdefault(str(annotation.get("image_id")), []).append(annotation["caption"])
    for number, name in names.items():
        yield Row(f"{where}:{number}", {"file_name": name, "caption": captions.get(number, [])})
    for number in captions.keys() - names.keys():
        fault = f"{len(captions[number])} captions are of image_id {number}, which is no id among its images"
        yield Row(f"{where}:{number}", {}, fault)
