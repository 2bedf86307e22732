"""Which files of a data set were read, and which have no part in it, with the reason and what would help."""

from __future__ import annotations

import csv
import mimetypes
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from sanakit.common.errors import MissingExtraError
from sanakit.common.paths import is_clip, is_medium, is_picture
from sanakit.data.samples import Layout, Reason
from sanakit.data.sources.collect import Findings
from sanakit.data.sources.files import parse_json, read_text, stem_of
from sanakit.data.sources.records import file_column, holds_captions
from sanakit.data.sources.rows import header_of

NOT_TEXTS = frozenset({"readme", "license", "licence", "notice", "classes", "authors", "attribution"})
_OURS = frozenset({
    "build.json", "curation.json", "summary.json", "problems.jsonl", "lineage.parquet", "wids-meta.json",
})  # fmt: skip
_DATA = (".tar", ".parquet", ".npy", ".npz")
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_TEXTS = (".txt", ".caption", ".captions", ".cap", ".tags", ".json", ".xml", ".yaml", ".yml")
_BESIDE = (".txt", ".caption", ".json", *_TABLES)
_OF_CAMERAS = (".aae", ".xmp", ".thm", ".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")
_SHEETS = (".xlsx", ".xls", ".ods")
_BY_TABLE = ("json", "jsonl", "csv", "imagefolder", "parquet")
_SHOWN = 3  # files of one reason


def tell_unused(root: Path, files: Iterable[Path], layout: Layout, findings: Findings) -> tuple[str, ...]:
    """A sentence about each kind of files that no reader took; those that hold samples become problems."""
    groups: dict[str, list[str]] = defaultdict(list)
    files = list(files)
    pictures = {stem_of(path) for path in files if is_picture(path)}
    for path in files:
        if path in findings.seen or path.name in _OURS or path.stem.lower() in NOT_TEXTS:
            continue
        name, suffix = path.relative_to(root).as_posix(), path.suffix.lower()
        if is_clip(path) and stem_of(path) in pictures:
            groups["the picture of the same name beside it is used; give the clip another name"].append(name)
        elif is_medium(path) or (suffix in _DATA and layout != "features" and not _is_bare_table(path)):
            reason: Reason = "bad_shard" if suffix == ".tar" else "bad_record"
            findings.report(name, reason, f"it has no part in the layout {layout}; give it a folder of its own")
        elif layout == "folder" and suffix not in _BESIDE and stem_of(path) in pictures and _may_be_text(path):
            groups["of the texts beside a picture only .txt, .caption and .json are read; rename it"].append(name)
        else:
            groups[_why(path, layout)].append(name)
    return tuple(f"{_named(names)}: {why}" for why, names in groups.items())


def files_read(root: Path, findings: Findings) -> tuple[str, ...]:
    """The files beside pictures, latents and shards that were read: tables and texts, many of a kind as ``*.txt``."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(findings.seen):
        if not is_medium(path) and path.suffix.lower() not in (".tar", ".npy", ".npz") and path.is_relative_to(root):
            name = path.relative_to(root)
            groups[name.parent.as_posix(), path.suffix].append(name.as_posix())
    if len(groups) > _SHOWN:
        return tuple(sorted({f"*{suffix}" for _, suffix in groups}))
    named = [names if len(names) <= _SHOWN else [_pattern(*kind)] for kind, names in groups.items()]
    return tuple(name for names in named for name in names)


def _pattern(folder: str, suffix: str) -> str:
    return f"*{suffix}" if folder == "." else f"{folder}/*{suffix}"


def _may_be_text(path: Path) -> bool:
    """Not a live photo's film, a raw picture, or what phones note of edits."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    return not kind.startswith(("audio/", "image/", "video/")) and path.suffix.lower() not in _OF_CAMERAS


def _is_bare_table(path: Path) -> bool:
    """Parquet that neither names nor holds pictures, as img2dataset writes beside its shards, or cannot be read."""
    try:
        return path.suffix.lower() == ".parquet" and file_column(header_of(path)) is None
    except (ValueError, OSError, MissingExtraError):
        return True


def _why(path: Path, layout: Layout) -> str:
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return _why_no_table(path, layout)
    if suffix in _TEXTS and layout in _BY_TABLE:
        return "tables say what the captions are; move those away to read what lies beside pictures"
    if suffix in _SHEETS:
        return "no spreadsheet is read; save it as CSV"
    if suffix == ".json":
        return _why_no_json(path)
    if suffix in _TEXTS:
        return "not named after a picture beside it; a.txt is the caption of a.png, or list.csv with file_name and text"
    return f"no {suffix or 'such'} file is read"


def _why_no_json(path: Path) -> str:
    try:
        parse_json(read_text(path))
    except ValueError as error:
        return f"it cannot be read ({error})"
    return "neither named after a picture nor a table whose file_name and caption are of pictures here"


def _why_no_table(path: Path, layout: Layout) -> str:
    try:
        names = header_of(path)
    except (ValueError, OSError, csv.Error, MissingExtraError) as error:
        return f"it cannot be read ({error})"
    told = ", ".join(names[:6]) or "none"
    if file_column(names) is None:
        return f"none of its columns ({told}) names pictures; call the one that does file_name"
    if not holds_captions(names):
        return f"none of its columns ({told}) holds captions; call the one that does caption"
    return f"the layout {layout} comes first; give this table itself to read it"


def _named(names: list[str]) -> str:
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
