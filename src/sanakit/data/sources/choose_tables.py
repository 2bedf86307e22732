"""Which tables of a folder say what its captions are: the first kind that names or holds pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sanakit.common.paths import composed, is_medium, walk
from sanakit.data.samples import Layout
from sanakit.data.sources.collect import Findings
from sanakit.data.sources.files import Bounds, parse_json, read_text, stem_of
from sanakit.data.sources.folder import jsons_by_picture, read_folder
from sanakit.data.sources.parquet import picture_column, read_embedded
from sanakit.data.sources.records import captions_of, file_column, holds_captions, picture_name
from sanakit.data.sources.rows import header_of, json_rows
from sanakit.data.sources.tables import PictureFinder, read_tables

TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".json", ".txt", ".token")
_TEXT_TABLES: Mapping[Layout, Sequence[str]] = {"jsonl": (".jsonl",), "csv": (".csv", ".tsv", ".txt", ".token")}
_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # of the Hugging Face imagefolder layout
_JSON_TABLES = ("metadata.json", "captions.json", "meta_data.json")


def read_any_tables(root: Path, files: Sequence[Path]) -> tuple[Layout, Findings] | None:
    """The layouts in which tables name or hold the pictures; None if there are no such tables."""
    for name in _METADATA:
        if tables := [path for path in files if path.name.lower() == name and _names_pictures(path)]:
            return "imagefolder", read_tables(root, tables, files)
    parquets = [path for path in files if path.suffix.lower() == ".parquet"]
    if parquets and (found := _read_parquets(root, parquets, files)) is not None:
        return "parquet", found
    if (found := _read_jsons(root, files)) is not None:
        return "json", found
    beside = _beside(files)
    for layout, suffixes in _TEXT_TABLES.items():
        chosen = [path for path in files if path.suffix.lower() in suffixes and not (beside and _is_text(path))]
        if tables := [path for path in chosen if _names_pictures(path, captions=True)]:
            return layout, read_tables(root, tables, files)
    return None


def _beside(files: Sequence[Path]) -> bool:
    """Whether a text lies beside a picture: then texts are captions, and no tables as Flickr's ``captions.txt`` is."""
    pictures = {name for path in files if is_medium(path) for name in (stem_of(path), composed(path.as_posix()))}
    return any(stem_of(path) in pictures for path in files if _is_text(path))


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def read_table(table: Path, bounds: Bounds) -> tuple[Layout, Findings] | None:
    """A table that was named itself, with the pictures in its folder; None if it neither names nor holds pictures."""
    root, suffix = table.parent, table.suffix.lower()
    files = [file for file in walk(root) if not bounds.outside(file)]
    if suffix == ".parquet":
        found = _read_parquets(root, [table], files)
        return None if found is None else ("parquet", found)
    if suffix == ".json":
        return "json", _read_json(root, table, files)
    layout = next(layout for layout, suffixes in _TEXT_TABLES.items() if suffix in suffixes)
    return (layout, read_tables(root, [table], files)) if _names_pictures(table) else None


def _names_pictures(table: Path, *, captions: bool = False) -> bool:
    """Whether one of its columns names a picture file, and one holds ``captions``."""
    try:
        names = header_of(table)
    except (ValueError, FileNotFoundError, csv.Error):  # what is wrong is told with the files that are not used
        return False
    return file_column(names) is not None and (not captions or holds_captions(names))


def _read_parquets(root: Path, tables: Sequence[Path], files: Sequence[Path]) -> Findings | None:
    """None if no table has a column for pictures, and other files are pictures."""
    embedded, named, damaged = list[Path](), list[Path](), list[Path]()
    for table in tables:
        try:
            holder = embedded if picture_column(table) is not None else named
            if holder is embedded or file_column(header_of(table)) is not None or not any(map(is_medium, files)):
                holder.append(table)
        except (ValueError, OSError):  # reading it says what is wrong
            damaged.append(table)
    if embedded or (damaged and not named and not any(map(is_medium, files))):
        return read_embedded(root, sorted([*embedded, *named, *damaged]))
    return read_tables(root, sorted([*named, *damaged]), files) if named else None  # else it is told as not used


def _read_jsons(root: Path, files: Sequence[Path]) -> Findings | None:
    """A table by its name, or those whose records are captions of pictures that are here, whatever they are called."""
    jsons = sorted(path for path in files if path.suffix.lower() == ".json")
    for path in jsons:
        if path.parent == root and path.name in _JSON_TABLES:
            return _read_json(root, path, files)
    stems = {stem_of(path) for path in files if is_medium(path)}
    beside = {path for found in jsons_by_picture(jsons, stems).values() for path in found.values()}
    others = [path for path in jsons if path not in beside]
    if not others or not stems:
        return None
    finder = PictureFinder(root, files)
    tables = [path for path in others if _captions_pictures(path, finder)]
    return read_tables(root, tables, files) if tables else None


def _captions_pictures(table: Path, finder: PictureFinder) -> bool:
    """Whether a record in it has a caption of a picture that is there."""
    with suppress(ValueError):
        for row in json_rows(parse_json(read_text(table)), table.name):
            column = file_column(list(row.record))
            name = picture_name(row.record[column]) if column else None
            if name is not None and finder.knows(name) and _has_caption(row.record):
                return True
    return False


def _has_caption(record: Mapping[str, Any]) -> bool:
    try:
        return any(caption.text for caption in captions_of(record))
    except ValueError:  # a caption is there, and is told as unreadable
        return True


def _read_json(root: Path, table: Path, files: Sequence[Path]) -> Findings:
    """SANA's ``{"img_names": [...]}``, or a table."""
    content: Any = None
    with suppress(ValueError):  # reading it as a table says what is wrong
        content = parse_json(read_text(table))
    if isinstance(content, dict) and isinstance(names := content.get("img_names"), list):
        findings = read_folder(root, files, [str(name) for name in names])
        findings.seen.add(table)
        return findings
    return read_tables(root, [table], files)
