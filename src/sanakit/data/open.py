"""The front door: recognise how a data set is laid out, and open it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path, as_there, is_medium, walk
from sanakit.data.samples import Layout
from sanakit.data.shards.wids import INDEX, read_wids
from sanakit.data.sources.choose_tables import TABLES, read_any_tables, read_table
from sanakit.data.sources.collect import Findings, collect
from sanakit.data.sources.data_source import DataSource
from sanakit.data.sources.features import read_features
from sanakit.data.sources.files import Bounds
from sanakit.data.sources.folder import read_folder
from sanakit.data.sources.unused import files_read, tell_unused

ACCEPTED = (
    "a folder of pictures with captions (a.png with a.txt or a.json, or named by metadata.csv, metadata.jsonl, "
    "metadata.json or Parquet), a folder of WebDataset shards (*.tar), or one of cached features (*.npy)"
)
_log = logging.getLogger(__name__)


def open_data(
    path: str | Path,
    *,
    min_size: int = 1,
    need_captions: bool = True,
    also: Sequence[str | Path] = (),
    caption: str | None = None,
) -> DataSource:
    """Open a data set of any layout of docs/data.md.

    Opening reads headers and captions, and decodes no picture. A broken sample or shard becomes a problem of the data
    source, never an error.

    Args:
        path: a folder, or a table in it.
        min_size: pixels that the shorter side of a picture must have.
        also: folders outside of it that rows, indexes and links of the data set may lead to.
        need_captions: False also uses pictures without captions, for an autoencoder or before captioning.
        caption: of pictures that have none; one that cannot be read stays a problem.

    Raises:
        RequestError: nothing there is a data set; the sentence says what would be one.
        MissingExtraError: it is Parquet, and pyarrow is not installed.
    """
    path, start = as_there(as_path(path)), time.perf_counter()
    bounds = Bounds(path.parent if path.is_file() else path, also)
    try:
        layout, findings = _read(path, bounds)
    except PermissionError as error:
        raise RequestError(f"{error.filename or path} must not be read by you: {error.strerror}") from error
    if caption is not None:
        findings.caption_bare(caption)
    source = collect(path, layout, findings, bounds, min_size=min_size, need_captions=need_captions)
    took = time.perf_counter() - start
    _log.info(
        "opened %s: layout %s, %d samples, %d problems, %.1f s", path, layout, len(source), len(source.problems), took
    )
    if source.unused_columns:
        _log.info("columns of %s that are not used: %s", path, ", ".join(source.unused_columns))
    return source


def _read(path: Path, bounds: Bounds) -> tuple[Layout, Findings]:
    if not path.exists():
        raise RequestError(f"{path} is not there; a data set is {ACCEPTED}")
    if path.is_file():
        return _read_file(path, bounds)
    unreadable: list[tuple[Path, str]] = []
    walked = list(walk(path, lambda place, fault: unreadable.append((place, fault))))
    outside = {file: fault for file in walked if (fault := bounds.fault(file))}
    files = [file for file in walked if file not in outside]
    layout, findings = _read_indexed(path, bounds) or _read_folder(path, files, bounds)
    findings.unused += tell_unused(path, files, layout, findings)
    findings.read = files_read(path, findings)
    for file, fault in outside.items():
        findings.report(file.relative_to(path).as_posix(), "outside", fault)
    for place, fault in unreadable:
        findings.report(place.relative_to(path).as_posix(), "bad_record", fault)
    return layout, findings


def _read_indexed(path: Path, bounds: Bounds) -> tuple[Layout, Findings] | None:
    return ("wids", read_wids(path, bounds)) if (path / INDEX).is_file() else None


def _read_folder(path: Path, files: Sequence[Path], bounds: Bounds) -> tuple[Layout, Findings]:
    """What the shards hold, and the pictures that lie loose beside them; with latents go no pictures."""
    if not any(file.suffix.lower() == ".tar" for file in files):
        return read_any_tables(path, files) or _read_plain(path, files)
    findings = read_wids(path, bounds, recursive=True)
    if not any(map(is_medium, files)) or any(candidate.has_latent for candidate in findings.candidates):
        return "wids", findings
    layout, loose = read_any_tables(path, files) or _read_plain(path, files)
    loose.add(findings)
    return "wids" if layout == "folder" else layout, loose


def _read_file(path: Path, bounds: Bounds) -> tuple[Layout, Findings]:
    """A single file: a table, or something that people give by mistake."""
    if path.name == INDEX:
        return _read(path.parent, bounds)
    if path.suffix.lower() in TABLES:
        if (found := read_table(path, bounds)) is not None:
            return found
        if path.suffix.lower() != ".txt":
            raise RequestError(f"{path} is a table in which no column names a picture (file_name, image, path, ...)")
    if is_medium(path):
        what, remedy = "a single picture", "give the folder that it lies in, with its caption beside it"
    elif path.suffix.lower() == ".tar":
        what, remedy = "a single tar", "give the folder of the shards"
    elif path.suffix.lower() in (".zip", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"):
        what, remedy = "an archive", "unpack it and give the folder"
    else:
        what, remedy = "a file", "give a folder"
    raise RequestError(f"{path} is {what}; {remedy}: a data set is {ACCEPTED}")


def _read_plain(root: Path, files: Sequence[Path]) -> tuple[Layout, Findings]:
    if any(map(is_medium, files)):
        return "folder", read_folder(root, files)
    if any(path.suffix.lower() == ".npy" for path in files):
        return "features", read_features(root, files)
    if not files:
        raise RequestError(f"{root} is empty; a data set is {ACCEPTED}")
    compressed = next((path.name for path in files if path.name.lower().endswith((".tar.gz", ".tgz", ".zip"))), None)
    if compressed:
        raise RequestError(f"{root} holds {compressed}, and no pictures; unpack it first: a data set is {ACCEPTED}")
    raise RequestError(f"{root} holds no pictures ({len(files)} other files); a data set is {ACCEPTED}")
