"""Parquet: tables of captions, with picture files named or, as the Hugging Face hub has them, embedded."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from sanakit.common.errors import PictureError, optional
from sanakit.common.user_cache import content_facts, file_stamp
from sanakit.data.pictures import picture_size
from sanakit.data.sources.blobs import FileBlob
from sanakit.data.sources.collect import Candidate, Findings
from sanakit.data.sources.files import is_clean, key_of_name
from sanakit.data.sources.records import captions_of, file_column, unused_texts

_KEPT_GROUPS = 4  # row groups whose pictures stay in memory, for readers that go through the rows in order


@dataclass(frozen=True, slots=True)
class CellBlob:
    """A picture inside a Parquet file."""

    path: Path
    name: str
    column: str
    group: int  # row group
    row: int  # in it
    num_bytes: int

    def open(self) -> BinaryIO:
        written = content_facts(self.path.stat())
        content = _pictures_of_group(self.path, self.group, self.column, written)[self.row]
        return io.BytesIO(content or b"")

    def stamp(self) -> str | None:
        return file_stamp(self.path, f"{self.column}/{self.group}/{self.row}")


def parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows without columns of bytes.

    Raises:
        ValueError: it is no Parquet file.
    """
    file = open_parquet(path)
    names = [field.name for field in file.schema_arrow if not _holds_bytes(field.type)]
    for batch in file.iter_batches(columns=names):
        yield from batch.to_pylist()


def parquet_names(path: Path) -> list[str]:
    """The columns that hold no bytes.

    Raises:
        ValueError: it is no Parquet file.
    """
    return [field.name for field in open_parquet(path).schema_arrow if not _holds_bytes(field.type)]


def picture_column(path: Path) -> str | None:
    """The column with embedded pictures: bytes, Hugging Face's ``{bytes, path}``, or lists of one of these.

    Raises:
        ValueError: it is no Parquet file.
    """
    fields = [field for field in open_parquet(path).schema_arrow if _holds_bytes(field.type)]
    by_name = {field.name.lower(): field.name for field in fields}
    inner = next((by_name[name] for name in ("jpg", "png", "webp", "bytes") if name in by_name), None)
    return file_column(by_name.values()) or inner or (fields[0].name if fields else None)


def read_embedded(root: Path, tables: Sequence[Path]) -> Findings:
    """The pictures inside Parquet files, or named there by ``{bytes: null, path}``, in row order.

    A name is relative to the file's folder, or to ``root``.
    """
    findings = Findings()
    for table in tables:
        where = table.relative_to(root).as_posix()
        try:
            column = picture_column(table)
            if column is None:
                raise ValueError("it has no column with pictures")
            _read_table(table, where, column, findings)
        except (ValueError, OSError) as error:
            findings.report(where, "bad_record", f"it cannot be read: {error}")
    _make_keys_unique(findings)
    findings.seen |= {*tables}
    return findings


def _read_table(table: Path, where: str, column: str, findings: Findings) -> None:
    file, row = open_parquet(table), 0
    names = [field.name for field in file.schema_arrow if field.name == column or not _holds_bytes(field.type)]
    for group in range(file.num_row_groups):
        for index, record in enumerate(file.read_row_group(group, columns=names).to_pylist()):
            row += 1
            place = f"row {row} of {where}"
            try:
                content, inner_name = _content(record.pop(column))
            except ValueError as error:
                findings.report(f"{where}:{row}", "bad_record", f"{place} {error}")
                continue
            name = inner_name or place
            key = _key(record, inner_name) or f"{where.removesuffix(table.suffix)}-{row:06d}"
            if content is not None:
                candidate = Candidate(key, CellBlob(table, name, column, group, index, len(content)))
                _measure(candidate, content)
            elif inner_name and (path := _file(inner_name, table, where)) is not None:
                candidate = Candidate(key, FileBlob(path))
                findings.seen.add(path)
            else:
                lost = f"names {inner_name}, and there is no such file" if inner_name else "holds no picture"
                findings.report(key, "missing_image", f"{place} {lost}")
                continue
            _fill(candidate, record)
            findings.candidates.append(candidate)


def _file(name: str, table: Path, where: str) -> Path | None:
    """A file that a row names instead of holding it."""
    root = table.parents[where.count("/")]
    found = (place / name.replace("\\", "/") for place in (table.parent, root))
    return next((path for path in found if path.is_file()), None)


def _measure(candidate: Candidate, content: bytes) -> None:
    """The size, while the picture is in memory."""
    try:
        candidate.size = picture_size(io.BytesIO(content))
    except PictureError as error:
        candidate.undecodable = str(error)


def _fill(candidate: Candidate, record: dict[str, Any]) -> None:
    candidate.unused_columns = unused_texts(record)
    try:
        candidate.captions = captions_of(record)
    except ValueError as error:
        candidate.unreadable_captions.append(str(error))


def _key(record: dict[str, Any], inner_name: str | None) -> str | None:
    column = file_column(list(record))
    name = record[column] if column and isinstance(record[column], str) and record[column].strip() else inner_name
    return key_of_name(name) if name else None


def _make_keys_unique(findings: Findings) -> None:
    """Names inside Parquet files often repeat from split to split; every row is a picture of its own."""
    seen: dict[str, int] = {}
    for candidate in findings.candidates:
        seen[candidate.key] = number = seen.get(candidate.key, 0) + 1
        if number > 1:
            detail = f"{candidate.blob.name} has the key of an earlier row; it is used as {candidate.key}-{number}"
            findings.report(candidate.key, "duplicate_key", detail, used=True)
            candidate.key = f"{candidate.key}-{number}"


@lru_cache(_KEPT_GROUPS)
def _pictures_of_group(path: Path, group: int, column: str, written: tuple[int, ...]) -> list[bytes | None]:
    """The pictures of a row group; the last few stay in memory, since a single row cannot be read alone. ``written``
    is what the file has had since."""
    try:
        cells = open_parquet(path).read_row_group(group, columns=[column])[column].to_pylist()
    except ValueError as error:
        raise PictureError(f"{path.name} cannot be read: {error}") from error
    return [_content(cell)[0] if not isinstance(cell, list) or len(cell) == 1 else None for cell in cells]


def _content(cell: Any) -> tuple[bytes | None, str | None]:
    """Bytes and the name inside, of every kind of column.

    Raises:
        ValueError: it holds several pictures.
    """
    if isinstance(cell, list):
        if len(cell) > 1:
            raise ValueError(f"holds {len(cell)} pictures; give each a row of its own")
        return _content(cell[0]) if cell else (None, None)
    if isinstance(cell, dict):
        name = cell.get("path")
        return cell.get("bytes") or None, name if isinstance(name, str) and name else None
    return cell or None, None


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa  # type: ignore[import-untyped]

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def for_arrow(path: Path) -> Any:
    """The file as pyarrow takes it: by its path, or opened where the path is not UTF-8."""
    return path if is_clean(str(path)) else path.open("rb")


def open_parquet(path: Path) -> Any:
    """pyarrow's reader of a file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ValueError: it is no Parquet file, or a damaged one.
    """
    needed = f"{path.name} is a Parquet file, which needs pyarrow; pip install 'sanakit[data]'"
    return optional("pyarrow.parquet", needed).ParquetFile(for_arrow(path))
