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
        row: Row = {"key": source[index].key, "source_file": source.file_of(index), **facts, "captions": []}
        row["recipe_hash"] = recipe_hash
        if index in duplicates:
            position, distance = duplicates[index]
            key = source[position].key
            detail = f"its perceptual hash differs from that of {key} in {distance} bits"
            row |= {**dropped("near_duplicate", float(distance), detail), "duplicate_of": key}
        elif row["dropped_by"] is None:
            said = [next(rows) for rows in passes]
            row["captions"] = [item for found in said for item in found["captions"]]
            row["caption_fault"] = "; ".join(found["fault"] for found in said if found["fault"]) or None
            row |= judge_captions(row["captions"], row["caption_fault"], min_score)
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
