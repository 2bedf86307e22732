"""From what the passes found to the rows of the lineage, in the order of the keys, with little in memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sanakit.data.curation.config import CurationConfig
from sanakit.data.curation.near_duplicates import Match
from sanakit.data.curation.steps import Row, dropped, judge_captions
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource


def sample_rows(
    source: DataSource,
    config: CurationConfig,
    looked: Iterable[Row],
    duplicates: Mapping[int, Match],
    captioned: Sequence[Iterable[Row]],
) -> Iterator[Row]:
    """One row for each sample of the source, with its place in the shards if it is kept.

    Args:
        looked: a row for each sample, by index.
        duplicates: index -> what it duplicates.
        captioned: for each captioner a row for each sample that no filter dropped, by index.
    """
    passes = [iter(rows) for rows in captioned]
    recipe_hash, num_kept = config.recipe_hash, 0
    min_score = config.scorer.min_score if config.scorer else None
    for facts in looked:
        index = facts["index"]
        row: Row = {"key": source[index].key, "source_file": source_file(source, index), **facts, "captions": []}
        row["recipe_hash"] = recipe_hash
        if index in duplicates:
            position, distance = duplicates[index]
            key = source[position].key
            detail = f"its perceptual hash differs from that of {key} in {distance} bits"
            row |= {**dropped("near_duplicate", float(distance), detail), "duplicate_of": key}
        elif row["dropped_by"] is None:
            row["captions"] = [item for rows in passes for item in next(rows)["captions"]]
            row |= judge_captions(row["captions"], min_score)
        if row["dropped_by"] is None:
            row |= {"shard": f"{num_kept // config.shard_size:05d}.tar", "shard_key": row["key"]}
            num_kept += 1
        yield row


def with_problems(rows: Iterable[Row], problems: Sequence[Problem], recipe_hash: str) -> Iterator[Row]:
    """The rows of the samples, and at their places those of what could not be opened as a sample at all."""
    lost = (_problem(problem, recipe_hash) for problem in problems if not problem.used)
    return _without_used(heapq.merge(rows, lost, key=lambda row: row["key"]))


def _without_used(rows: Iterator[Row]) -> Iterator[Row]:
    """One row for each key: a problem that left its sample usable, or a second one of the same sample, adds none.
    A file whose key was taken is a sample of its own."""
    last: str | None = None
    for row in rows:
        if row["key"] != last or row["dropped_by"] == "duplicate_key":
            yield row
        last = row["key"]


def _problem(problem: Problem, recipe_hash: str) -> Row:
    row: Row = {"key": problem.key, "captions": [], "recipe_hash": recipe_hash}
    return row | dropped(problem.reason, None, problem.detail)


def source_file(source: DataSource, index: int) -> str:
    """Where the picture is, relative to the data set; of a member of a tar ``shard.tar/member``."""
    blob = source.blob(index)
    root = source.path if source.path.is_dir() else source.path.parent
    place = blob.path.relative_to(root).as_posix() if blob.path.is_relative_to(root) else blob.path.as_posix()
    return place if blob.path.name == blob.name else f"{place}/{blob.name}"
