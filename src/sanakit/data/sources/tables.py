"""Tables of captions: rows of CSV, JSON lines, JSON or Parquet that name picture files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.common.paths import PICTURE_SUFFIXES, is_picture
from sanakit.data.samples import Caption
from sanakit.data.sources.blobs import FileBlob
from sanakit.data.sources.collect import Candidate, Findings
from sanakit.data.sources.files import decode_loosely, is_clean, key_of, key_of_name, lines_of, parse_json
from sanakit.data.sources.parquet import parquet_records
from sanakit.data.sources.records import captions_of, file_column, unused_texts

_LONGEST_FIELD = 2**31 - 1  # the standard library's own limit is 128 KiB, and rows of captions are longer


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a table, or why it cannot be read."""

    where: str  # "metadata.csv:3", for messages
    record: Mapping[str, Any]
    fault: str | None = None


def read_tables(root: Path, tables: Sequence[Path], files: Sequence[Path]) -> Findings:
    """The pictures that the rows name, and what is wrong with rows and with pictures that none names.

    A name is relative to the table's folder, or to ``root``. Several rows of one picture are several captions of it.
    """
    findings, found = Findings(), dict[Path, Candidate]()
    for table in tables:
        for row in rows_of(table, root, findings):
            _add_row(row, table, root, found, findings)
    findings.candidates = list(found.values())
    named = {path.resolve() for path in found}
    for path in files:
        if is_picture(path) and path.resolve() not in named:
            names = tables[0].name if len(tables) == 1 else f"{len(tables)} tables"
            detail = f"{path.name} lies in the folder, and no row of {names} names it"
            findings.report(key_of(path, root), "missing_caption", detail)
    return findings


def rows_of(table: Path, root: Path, findings: Findings) -> Iterator[Row]:
    """The rows of a table of any kind; what is wrong with the table itself goes to ``findings``."""
    where = table.relative_to(root).as_posix()
    try:
        match table.suffix.lower():
            case ".csv" | ".tsv":
                yield from _csv_rows(decode_loosely(table.read_bytes()), where)
            case ".jsonl":
                yield from _json_lines(decode_loosely(table.read_bytes()), where)
            case ".parquet":
                for number, record in enumerate(parquet_records(table), 1):
                    yield Row(f"{where}:{number}", record)
            case _:
                yield from _json_rows(parse_json(decode_loosely(table.read_bytes())), where)
    except (ValueError, OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        findings.report(where, "bad_record", f"it cannot be read: {reason}")


def header_of(table: Path) -> list[str]:
    """The names of the columns, of JSON lines those in the first line that is an object; empty if it has none."""
    with table.open("rb") as file:
        start = decode_loosely(file.read(1 << 20))
    if table.suffix.lower() == ".jsonl":
        return next((list(row.record) for row in _json_lines(start, table.name) if row.fault is None), [])
    return next(csv.reader(io.StringIO(start, newline=""), delimiter=_delimiter(start)), [])


def _csv_rows(text: str, where: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    names = reader.fieldnames or []
    if file_column(list(names)) is None:
        raise ValueError(f"no column names the picture; it has {', '.join(map(str, names)) or 'none'}")
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(f"{where}:{reader.line_num}", {}, f"the row is no valid CSV ({error})")
            continue
        extra = f"the row has more than the {len(names)} fields of the header; quote texts that hold commas"
        yield Row(f"{where}:{reader.line_num}", record, extra if None in record else None)


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


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


def _json_rows(content: Any, where: str) -> Iterator[Row]:
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
    names = {image.get("id"): image.get("file_name") for image in images if isinstance(image, dict)}
    captions: dict[Any, list[str]] = {}
    for annotation in annotations:
        if isinstance(annotation, dict) and isinstance(annotation.get("caption"), str):
            captions.setdefault(annotation.get("image_id"), []).append(annotation["caption"])
    for number, name in names.items():
        yield Row(f"{where}:{number}", {"file_name": name, "caption": captions.get(number, [])})


def _add_row(row: Row, table: Path, root: Path, found: dict[Path, Candidate], findings: Findings) -> None:
    column = file_column(list(row.record))
    name = row.record[column] if column else None
    if row.fault is not None or not isinstance(name, str) or not name.strip():
        findings.report(row.where, "bad_record", row.fault or "it names no picture")
        return
    path = _find(name.strip(), table, root)
    if path is None:
        detail = f"{row.where} names {name if is_clean(name) else ascii(name)}, and there is no such file"
        findings.report(key_of_name(name) or name, "missing_image", detail)
        return
    candidate = found.setdefault(path, Candidate(key_of(path, root), FileBlob(path)))
    candidate.unused_columns |= unused_texts(row.record)
    try:
        captions = captions_of({name: value for name, value in row.record.items() if name != column})
    except ValueError as error:
        candidate.unreadable_captions.append(f"{row.where}: {error}")
        return
    if captions and _known(candidate, captions):
        detail = f"{row.where} says again what an earlier row says; it counts once"
        findings.report(candidate.key, "duplicate_key", detail)
    else:
        candidate.captions += captions


def _known(candidate: Candidate, captions: Iterable[Caption]) -> bool:
    texts = {(caption.source, caption.text) for caption in candidate.captions}
    return all((caption.source, caption.text) in texts for caption in captions)


def _find(name: str, table: Path, root: Path) -> Path | None:
    """The file that a row names, or the picture of that stem if the row leaves out the suffix."""
    plain = name.replace("\\", "/")
    for place in (table.parent, root):
        path = place / plain
        if path.is_file() or (path.is_symlink() and not path.exists()):
            return path
        for suffix in sorted(PICTURE_SUFFIXES) if not is_picture(path) else ():
            if (guess := path.with_name(path.name + suffix)).is_file():
                return guess
    return None
