"""``lineage.parquet``: one row for every sample that went in, whether it came out or not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sanakit.common.errors import RequestError
from sanakit.data.curation.parts import Schema, arrow, parquet
from sanakit.data.curation.steps import Row

LINEAGE = "lineage.parquet"


def looked_schema() -> Schema:
    """What looking at a picture finds."""
    pa = arrow()
    return pa.schema([
        ("index", pa.int64()),
        ("sha256", pa.string()),
        ("perceptual_hash", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        *_dropped_fields(),
    ])  # fmt: skip


def captions_schema() -> Schema:
    """What a captioner says of a picture."""
    pa = arrow()
    return pa.schema([("index", pa.int64()), ("captions", _captions())])


def lineage_schema() -> Schema:
    """Columns of the lineage; docs/curation.md describes each."""
    pa = arrow()
    return pa.schema([
        ("key", pa.string()),
        ("source_file", pa.string()),
        ("sha256", pa.string()),
        ("perceptual_hash", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        *_dropped_fields(),
        ("duplicate_of", pa.string()),
        ("captions", _captions()),
        ("shard", pa.string()),
        ("shard_key", pa.string()),
        ("recipe_hash", pa.string()),
    ])  # fmt: skip


def _dropped_fields() -> list[tuple[str, Any]]:
    pa = arrow()
    return [("dropped_by", pa.string()), ("dropped_value", pa.float64()), ("dropped_detail", pa.string())]


def _captions() -> Any:
    pa = arrow()
    texts = [(name, pa.string()) for name in ("source", "text", "scored_by")]
    return pa.list_(pa.struct([*texts[:2], ("score", pa.float64()), texts[2]]))


@dataclass(frozen=True, kw_only=True, slots=True)
class CurationSummary:
    """What a curation did, in numbers."""

    num_samples: int  # that went in
    num_kept: int
    num_shards: int
    dropped: dict[str, int] = field(default_factory=dict)  # rule -> samples
    captions: dict[str, int] = field(default_factory=dict)  # source -> captions of kept samples
    mean_scores: dict[str, float] = field(default_factory=dict)  # source -> mean score of kept samples
    recipe_hash: str

    def table(self) -> str:
        """For people, one line per rule and source."""
        lines = [f"{'samples':<28}{self.num_samples:>12}"]
        lines += [f"  {'- ' + rule:<26}{count:>12}" for rule, count in self.dropped.items()]
        lines += [f"{'kept':<28}{self.num_kept:>12}   in {self.num_shards} shards"]
        for source, count in self.captions.items():
            score = f"   mean score {self.mean_scores[source]:.4g}" if source in self.mean_scores else ""
            lines.append(f"  {'captions of ' + source:<26}{count:>12}{score}")
        return "\n".join(lines)


class Counts:
    """Counts rows of the lineage as they pass."""

    def __init__(self) -> None:
        self._samples, self._kept = 0, 0
        self._shards: set[str] = set()
        self._dropped, self._captions, self._scored = Counter[str](), Counter[str](), Counter[str]()
        self._scores: dict[str, float] = {}

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, counted."""
        for row in rows:
            self._samples += 1
            if row["dropped_by"] is None:
                self._count_kept(row)
            else:
                self._dropped[row["dropped_by"]] += 1
            yield row

    def _count_kept(self, row: Row) -> None:
        self._kept += 1
        self._shards.add(row["shard"])
        for item in row["captions"]:
            source, score = item["source"], item["score"]
            self._captions[source] += 1
            if score is not None:
                self._scored[source] += 1
                self._scores[source] = self._scores.get(source, 0.0) + score

    def summary(self, recipe_hash: str) -> CurationSummary:
        means = {source: self._scores[source] / count for source, count in sorted(self._scored.items())}
        return CurationSummary(
            num_samples=self._samples, num_kept=self._kept, num_shards=len(self._shards),
            dropped=dict(sorted(self._dropped.items())), captions=dict(sorted(self._captions.items())),
            mean_scores=means, recipe_hash=recipe_hash,
        )  # fmt: skip


def trace(out: Path, wanted: str) -> list[Row]:
    """The rows of a curation's lineage whose key, key in the shards, source file or SHA-256 is ``wanted``.

    Raises:
        RequestError: the folder holds no lineage, or no such sample went into it.
    """
    path = out / LINEAGE
    if not path.is_file():
        raise RequestError(f"{out} holds no {LINEAGE}; give the folder of a finished curation")
    columns = ("key", "shard_key", "source_file", "sha256")
    try:
        table = parquet().read_table(path, filters=[[(column, "=", wanted)] for column in columns])
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read as a lineage ({error})") from error
    if not table.num_rows:
        raise RequestError(f"{path} has no sample with the key, source file or SHA-256 {wanted!r}")
    rows: list[Row] = table.to_pylist()
    return rows
