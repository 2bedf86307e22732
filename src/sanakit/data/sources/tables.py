"""Tables of captions: rows of CSV, JSON lines, JSON or Parquet that name picture files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sanakit.common.paths import MEDIA_SUFFIXES, as_there, composed, is_medium
from sanakit.data.samples import Caption
from sanakit.data.sources.blobs import FileBlob
from sanakit.data.sources.collect import Candidate, Findings
from sanakit.data.sources.files import is_clean, key_of, key_of_name, stem_of
from sanakit.data.sources.records import captions_of, file_column, picture_name, unused_texts
from sanakit.data.sources.rows import Row, rows_of

_LONGEST_NAME = 300  # characters; what is longer is no name, and would fill the screen


class PictureFinder:
    """Which file a name in a table means: below the table's folder or the data set, with or without its suffix, or
    else the only picture of the data set whose path ends so, as COCO's names do."""

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = {}
        for path in filter(is_medium, files):
            for name in {composed(path.name), composed(path.stem)}:
                self._by_name.setdefault(name, []).append(path)

    def find(self, name: str, table: Path) -> Path | None:
        """The file, also a link to nothing; None if there is none."""
        plain = name.strip().replace("\\", "/")
        for place in (table.parent, self.root):
            path = as_there(place / plain)
            if os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path)):
                return path
            for suffix in sorted(MEDIA_SUFFIXES) if path.name and not is_medium(path) else ():
                if os.path.isfile(guess := as_there(path.with_name(path.name + suffix))):
                    return guess
        found = self.ending_so(plain)
        return found[0] if len(found) == 1 else None

    def knows(self, name: str) -> bool:
        """Whether a picture is called so; its folder does not matter."""
        return composed(name.strip()).replace("\\", "/").rpartition("/")[2] in self._by_name

    def ending_so(self, name: str) -> list[Path]:
        """The pictures whose paths end with the name, which may lack its suffix."""
        ends = composed(name.strip()).replace("\\", "/").removeprefix("./")
        return [
            path for path in self._by_name.get(ends.rpartition("/")[2], ())
            if f"/{composed(path.as_posix())}".endswith(f"/{ends}") or f"/{stem_of(path)}".endswith(f"/{ends}")
        ]  # fmt: skip


def read_tables(root: Path, tables: Sequence[Path], files: Sequence[Path]) -> Findings:
    """The pictures that the rows name, and what is wrong with rows and with pictures that none names.

    A name is relative to the table's folder, or to ``root``. Several rows of one picture are several captions of it.
    """
    findings, found, finder = Findings(), dict[str, Candidate](), PictureFinder(root, files)
    for table in tables:
        for row in rows_of(table, root, findings):
            _add_row(row, table, finder, found, findings)
    findings.candidates = list(found.values())
    named = {candidate.blob.path.resolve() for candidate in found.values()}
    for path in filter(is_medium, files):
        if path.resolve() not in named:
            names = tables[0].name if len(tables) == 1 else f"{len(tables)} tables"
            detail = f"{path.name} lies in the folder, and no row of {names} names it"
            findings.report(key_of(path, root), "missing_caption", detail)
    findings.seen |= {*tables, *filter(is_medium, files)}
    return findings


def _add_row(row: Row, table: Path, finder: PictureFinder, found: dict[str, Candidate], findings: Findings) -> None:
    column = file_column(list(row.record))
    name = picture_name(row.record[column]) if column else None
    if row.fault is not None or name is None:
        findings.report(row.where, "bad_record", row.fault or _nameless(row.record, column))
        return
    path = finder.find(name, table)
    if path is None:
        name = f"{name[:_LONGEST_NAME]}..." if len(name) > _LONGEST_NAME else name
        told = name if is_clean(name) else ascii(name)
        several = len(finder.ending_so(name)) > 1
        which = "several files are called so; say their folders" if several else "there is no such file"
        detail = f"{row.where} names {told}, and {which}"
        findings.report(key_of_name(name) or name, "missing_image", detail)
        return
    key = key_of(path, finder.root)
    candidate = found.setdefault(f"{key}{path.suffix}", Candidate(key, FileBlob(path)))
    candidate.unused_columns |= unused_texts(row.record)
    try:
        captions = captions_of({name: value for name, value in row.record.items() if name != column})
    except ValueError as error:
        candidate.unreadable_captions.append(f"{row.where}: {error}")
        return
    if captions and _known(candidate, captions):
        detail = f"{row.where} says again what an earlier row says; it counts once"
        findings.report(candidate.key, "duplicate_key", detail, used=True)
    else:
        candidate.captions += captions


def _nameless(record: Any, column: str | None) -> str:
    if column is None:
        return f"it names no picture: it has {', '.join(map(str, record)) or 'nothing'}, and no file_name"
    if isinstance(record[column], (list, tuple)) and len(record[column]) > 1:
        return f"its {column} names {len(record[column])} pictures; give each a row of its own"
    return f"its {column} names no picture"


def _known(candidate: Candidate, captions: Iterable[Caption]) -> bool:
    texts = {(caption.source, caption.text) for caption in candidate.captions}
    return all((caption.source, caption.text) in texts for caption in captions)
