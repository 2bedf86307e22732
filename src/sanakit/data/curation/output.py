"""The folder of a curation: begun once, continued, finished."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from sanakit.common.config import from_mapping, json_values
from sanakit.common.errors import ConfigError, PictureError
from sanakit.data.build import picture_files
from sanakit.data.curation.config import CurationConfig, plain_settings
from sanakit.data.curation.lineage import CurationSummary
from sanakit.data.curation.steps import Row
from sanakit.data.samples import Caption
from sanakit.data.shards import writer
from sanakit.data.shards.writer import PackedSample
from sanakit.data.sources.collect import ordered
from sanakit.data.sources.data_source import DataSource

WORK_FOLDER = ".curation"
SUMMARY = "summary.json"
_BEGUN = "curation.json"


def begin(out: Path, source: DataSource, config: CurationConfig) -> None:
    """Make the folder, or see that it was begun with the same recipe and data.

    Raises:
        ConfigError: it holds something else.
        OutputError: it cannot be written.
    """
    writer.begin_folder(out, plain_settings(config) | {"source_hash": source_hash(source)}, _BEGUN)


def begun_settings(out: Path) -> dict[str, Any]:
    """What a curation was begun with, as ``begin`` wrote it; nothing where there is none, or where it is damaged, which
    ``begin`` tells."""
    try:
        found = json_values((out / _BEGUN).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def source_hash(source: DataSource) -> str:
    """SHA-256 of the keys, sizes and captions of a data set, and of what is wrong in it; not of its pixels."""
    digest = sha256()
    for index in range(len(source)):
        digest.update(repr(source[index]).encode("utf-8", "surrogatepass"))
    for problem in source.problems:
        digest.update(repr(problem).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def finished_summary(out: Path) -> CurationSummary | None:
    """The summary of a folder that is complete."""
    path = out / SUMMARY
    if not path.exists():
        return None
    try:
        return from_mapping(CurationSummary, json_values(path.read_bytes()), where=str(path))
    except ValueError as error:  # also what is no JSON
        raise ConfigError(f"{path} is not the summary of a curation ({error}); choose another folder") from error


def finish(out: Path, summary: CurationSummary) -> CurationSummary:
    """Write the summary, which says that the folder is complete, and remove what the passes kept.

    Raises:
        OutputError: it cannot be written.
    """
    writer.write_json(out / SUMMARY, asdict(summary))
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
    return summary


def write_shard(rows: list[Row], source: DataSource, out: Path, suffixes: frozenset[str]) -> list[Row]:
    """Write the samples of one shard; one that is there already is whole and stays.

    Args:
        suffixes: of the sidecars that every shard of the data set has.

    Raises:
        PictureError: a picture is not the one any more that was looked at.
        OutputError: it could not be written.
    """
    shard = rows[0]["shard"]
    if not (out / shard).exists():
        writer.write_shard(out, Path(shard).stem, (_packed(row, source) for row in rows), suffixes=suffixes)
    return [{"shard": shard, "num_samples": len(rows)}]


def captions_of(row: Row) -> tuple[Caption, ...]:
    """As a shard holds them: the main one first."""
    return ordered(Caption(source=item["source"], text=item["text"], score=item["score"]) for item in row["captions"])


def _packed(row: Row, source: DataSource) -> PackedSample:
    """The file as stored if every reader sees it upright, else as PNG."""
    sample, content = source[row["index"]], source.read_bytes(row["index"])
    if sha256(content).hexdigest() != row["sha256"]:
        raise PictureError(f"the picture {sample.key} changed while it was curated; begin anew elsewhere")
    return PackedSample(replace(sample, captions=captions_of(row)), picture_files(content))
