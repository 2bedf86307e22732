"""``lineage.parquet``: one row for every sample that went in, whether it came out or not, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sanakit.common.errors import RequestError
from sanakit.common.files import as_utf8
from sanakit.data.curation.parts import Schema, arrow, parquet
from sanakit.data.curation.steps import Row
from sanakit.data.sources.parquet import for_arrow

LINEAGE = "lineage.parquet"


# Column to type, as pyarrow writes it.
_LOOKED = {"sha256": "string", "perceptual_hash": "string", "width": "int64", "height": "int64"}
_DROPPED = {"dropped_by": "string", "dropped_value": "float64", "dropped_detail": "string"}


def looked_schema() -> Schema:
    """What looking at a picture finds."""
    return arrow().schema({"index": "int64", **_LOOKED, **_DROPPED})


def captions_schema() -> Schema:
    """What a captioner says of a picture."""
    return arrow().schema({"index": "int64", "captions": _captions(), "fault": "string"})


def lineage_schema() -> Schema:
    """Columns of the lineage; docs/curation.md describes each."""
    end = {"shard": "string", "shard_key": "string", "recipe_hash": "string"}
    faults = {"caption_fault": "string"}
    names = {"key": "string", "source_file": "string"}
    return arrow().schema(
        {**names, **_LOOKED, **_DROPPED, "duplicate_of": "string", "captions": _captions(), **faults, **end}
    )


def _captions() -> Any:
    pa = arrow()
    kinds = {"source": "string", "text": "string", "score": "float64", "scored_by": "string", "scored_in_part": "bool"}
    return pa.list_(pa.struct({name: pa.type_for_alias(kind) for name, kind in kinds.items()}))


@dataclass(frozen=True, kw_only=True, slots=True)
class CurationSummary:
    """What a curation did, in numbers."""

    num_samples: int  # that went in
    num_kept: int
    num_shards: int
    dropped: dict[str, int] = field(default_factory=dict)  # rule -> samples
    captions: dict[str, int] = field(default_factory=dict)  # source -> captions of kept samples
    mean_scores: dict[str, float] = field(default_factory=dict)  # source -> mean score of kept samples
    num_scored_in_part: int = 0  # captions of kept samples that are longer than the scorer reads
    num_caption_faults: int = 0  # samples, kept or not, on which a captioner failed
    recipe_hash: str

    def table(self) -> str:
        """For people, one line per rule and source."""
        lines = [f"{'samples':<28}{self.num_samples:>12}"]
        lines += [f"  {'- ' + rule:<26}{count:>12}" for rule, count in self.dropped.items()]
        lines += [f"{'kept':<28}{self.num_kept:>12}   in {self.num_shards} shards"]
        for source, count in self.captions.items():
            score = f"   mean score {self.mean_scores[source]:.4g}" if source in self.mean_scores else ""
            lines.append(f"  {'captions of ' + source:<26}{count:>12}{score}")
        if self.num_scored_in_part:
            lines.append(f"  {'longer than is scored':<26}{self.num_scored_in_part:>12}   scored by their beginning")
        if self.num_caption_faults:
            lines.append(
                f"  {'a captioner failed on':<26}{self.num_caption_faults:>12}   see caption_fault in the lineage"
            )
        return "\n".join(lines)


class Counts:
    """Counts rows of the lineage as they pass."""

    def __init__(self) -> None:
        self._fates = Counter[str | None]()  # the rule that dropped them; None: kept
        self._shards: set[str] = set()
        self._faults = self._cut = 0
        self._captions, self._scored = Counter[str](), Counter[str]()
        self._scores = defaultdict[str, float](float)

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, counted."""
        for row in rows:
            self._fates[row["dropped_by"]] += 1
            self._faults += row.get("caption_fault") is not None
            if row["dropped_by"] is None:
                self._shards.add(row["shard"])
                for item in row["captions"]:
                    self._count(item["source"], item["score"])
                    self._cut += bool(item.get("scored_in_part"))
            yield row

    def _count(self, source: str, score: float | None) -> None:
        self._captions[source] += 1
        if score is not None:
            self._scored[source] += 1
            self._scores[source] += score

    def summary(self, recipe_hash: str) -> CurationSummary:
        return CurationSummary(
            num_samples=self._fates.total(),
            num_kept=self._fates[None],
            num_shards=len(self._shards),
            dropped=dict(sorted((rule, count) for rule, count in self._fates.items() if rule is not None)),
            captions=dict(sorted(self._captions.items())),
            mean_scores={source: self._scores[source] / count for source, count in sorted(self._scored.items())},
            num_scored_in_part=self._cut,
            num_caption_faults=self._faults,
            recipe_hash=recipe_hash,
        )


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
        written = as_utf8(wanted).decode("utf-8")  # as names are in a table
        table = parquet().read_table(for_arrow(path), filters=[[(column, "=", written)] for column in columns])
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read as a lineage ({error})") from error
    if not table.num_rows:
        raise RequestError(f"{path} has no sample with the key, source file or SHA-256 {wanted!r}")
    return table.to_pylist()
