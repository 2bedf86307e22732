"""The walk of a curation: look at every picture, decide what is a duplicate, caption what stays, write shards.

Each pass is a step (curation/steps.py) that a driver (curation/drivers.py) calls over batches; what it finds is kept
beside the output until all is done, so the same command goes on where it was stopped. The folder:

    00000.tar ..., wids-meta.json     the data set, as `sanakit data build` writes it
    lineage.parquet                   one row for every sample that went in
    summary.json                      counts; written last: a folder that has it is complete
    curation.json                     the recipe and the data set that it was begun with
    .curation/                        what the passes found so far; gone when all is done
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError, RequestError
from sanakit.common.paths import as_path
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.curation import steps
from sanakit.data.curation.captioners import Scorer, ScorerLoader, check_captioner, load_captioner
from sanakit.data.curation.config import CaptionerConfig, CurationConfig, ExistingCaptions, captioner_name
from sanakit.data.curation.drivers import Driver, Threads, Work
from sanakit.data.curation.kept_answers import Answers
from sanakit.data.curation.lineage import (
    LINEAGE,
    Counts,
    CurationSummary,
    captions_schema,
    lineage_schema,
    looked_schema,
)
from sanakit.data.curation.merge import sample_rows, with_problems
from sanakit.data.curation.near_duplicates import Match, find_near_duplicates, require_imagehash
from sanakit.data.curation.output import WORK_FOLDER, begin, captions_of, finish, finished_summary, write_shard
from sanakit.data.curation.parts import Parts, Schema, parquet, write_table
from sanakit.data.curation.steps import Row, Step
from sanakit.data.open import open_data
from sanakit.data.shards.writer import sidecar_suffixes, write_index
from sanakit.data.sources.data_source import DataSource

logger = logging.getLogger(__name__)


_LOOK_BATCH = 32  # pictures
_HOPELESS = 64  # pictures on which a captioner fails, and on none less, before it is given up
_SHOWN_FAULTS = 5
_PART_ROWS = 512  # finished rows that a killed process loses at most; Ctrl-C loses none


def run_here(
    path: str | Path,
    out: str | Path,
    config: CurationConfig,
    *,
    load_scorer: ScorerLoader | None = None,
    num_threads: int | None = None,
    on_progress: OnProgress = no_progress,
) -> CurationSummary:
    """Curate the data set at ``path`` into ``out`` in this process; a stopped run is continued.

    Models are taken as ``config`` names them; ``config.pinned`` ties it to their commits, as the shell does.

    Args:
        load_scorer: (name or path, device) to a scorer; needed if the recipe has one.
        num_threads: that decode pictures; as many as there are cores if not given.

    Raises:
        RequestError: ``path`` is no data set of pictures, or ``out`` cannot be used.
        ConfigError: the recipe does not fit the data, or ``out`` was begun with another recipe.
        MissingExtraError: a package of the extra ``data`` is not installed.
        OutputError: a file could not be written.
    """
    return _curate(
        as_path(path), as_path(out), config, lambda: nullcontext(Threads(num_threads)), load_scorer, on_progress
    )


def run_on_ray(
    path: str | Path,
    out: str | Path,
    config: CurationConfig,
    *,
    load_scorer: ScorerLoader | None = None,
    on_progress: OnProgress = no_progress,
) -> CurationSummary:
    """As ``run_here``, on Ray: the same shards, byte for byte, and the same lineage, row for row.

    On several machines ``path`` and ``out`` must be the same folders everywhere, and so must the captioners' models.

    Raises:
        as ``run_here``; MissingExtraError also if Ray is not installed, RequestError also if no cluster answers.
    """
    from sanakit.data.curation.on_ray import ray_driver

    return _curate(
        as_path(path).absolute(),
        as_path(out).absolute(),
        config,
        partial(ray_driver, config.ray),
        load_scorer,
        on_progress,
    )


def _curate(
    path: Path,
    out: Path,
    config: CurationConfig,
    make_driver: Callable[[], AbstractContextManager[Driver]],
    load_scorer: ScorerLoader | None,
    on_progress: OnProgress,
) -> CurationSummary:
    parquet()
    require_imagehash()
    scorer = _check(config, load_scorer)
    source = open_data(path, need_captions=False, also=config.also)
    _check_source(source, out, config)
    for sentence in source.unused_files:
        logger.warning("not used in %s: %s", path, sentence)
    begin(out, source, config)
    summary = finished_summary(out)
    if summary is not None:
        logger.info("%s is complete", out)
        return summary
    with make_driver() as driver:
        return _Curation(source, out, config, driver, load_scorer, scorer, on_progress).run()


@dataclass(frozen=True)
class _Curation:
    """The passes, one after the other."""

    source: DataSource
    out: Path
    config: CurationConfig
    driver: Driver
    load_scorer: ScorerLoader | None
    scorer: Scorer | None  # of the recipe, in this process
    on_progress: OnProgress

    def run(self) -> CurationSummary:
        looked = self._look()
        duplicates = self._find_duplicates(looked)
        left = [row["index"] for row in looked if row["dropped_by"] is None and row["index"] not in duplicates]
        indices = np.array(left, dtype=np.int64)
        digests = {row["index"]: row["sha256"] for row in looked if row["sha256"] is not None}
        captioned = [self._caption(captioner, indices, digests) for captioner in self.config.captioners]

        def rows() -> Iterator[Row]:
            return sample_rows(self.source, self.config, looked, duplicates, captioned)

        write_index(self.out, "sanakit-data", self._write_shards(rows, len(indices)))
        counts = Counts()
        found = counts.watch(with_problems(rows(), self.source.problems, self.config.recipe_hash))
        write_table(self.out / LINEAGE, _batches(found, 65536), lineage_schema())
        return finish(self.out, counts.summary(self.config.recipe_hash))

    def _look(self) -> Parts:
        # A step that loads nothing is made by a partial of partial.
        work = Work("pictures", partial(partial, steps.look, source=self.source, filters=self.config.filters))
        return self._pass("look", work, looked_schema(), np.arange(len(self.source), dtype=np.int64), _LOOK_BATCH)

    def _find_duplicates(self, looked: Parts) -> dict[int, Match]:
        """The one decision that needs all pictures; it sees hashes only."""
        settings = self.config.filters.duplicates
        if settings is None:
            return {}
        hashes = ((row["index"], row["perceptual_hash"]) for row in looked if row["dropped_by"] is None)
        found = find_near_duplicates(hashes, distance=settings.distance, num_bits=settings.hash_size**2)
        return {index: match for index, match in found if match is not None}

    def _caption(self, captioner: CaptionerConfig, indices: NDArray[np.int64], digests: Mapping[int, str]) -> Parts:
        existing = isinstance(captioner, ExistingCaptions)
        kind: Literal["pictures", "model"] = "pictures" if existing and self.config.scorer is None else "model"
        work = Work(kind, partial(_caption_step, self.source, self.config, captioner, self.load_scorer))
        size = _LOOK_BATCH if isinstance(captioner, ExistingCaptions) else captioner.batch_size
        kept = Answers(self.source, captioner, self.scorer, digests)
        parts = self._pass(f"caption-{captioner_name(captioner)}", work, captions_schema(), indices, size, kept)
        faults = [(self.source[row["index"]].key, row["fault"]) for row in parts if row["fault"]]
        for key, fault in faults[:_SHOWN_FAULTS]:
            logger.warning("%s: %s", key, fault)
        if len(faults) > _SHOWN_FAULTS:
            logger.warning("... and %d more, in %s", len(faults) - _SHOWN_FAULTS, self.out / LINEAGE)
        return parts

    def _pass(
        self, name: str, work: Work, schema: Schema, indices: NDArray[np.int64], size: int, kept: Answers | None = None
    ) -> Parts:
        """Run a step over the samples that earlier runs have not done. Parts hold whole batches, so that a continued
        run makes the same batches as one that was never stopped."""
        parts = Parts(self.out / WORK_FOLDER / name, schema)
        waiting: list[Row] = []
        self.on_progress(len(parts), len(indices), name)
        try:
            batches = _index_batches(indices, len(parts), size)
            for rows in self.driver.map(work, batches if kept is None else map(kept.add_known, batches)):
                waiting += rows
                if kept is not None:
                    kept.keep(rows)
                if not len(parts) and len(waiting) >= min(_HOPELESS, len(indices)):
                    self._refuse_if_all_failed(waiting)
                self.on_progress(len(parts) + len(waiting), len(indices), name)
                if len(waiting) >= _PART_ROWS:
                    parts.append(waiting)
                    waiting = []
        finally:
            if waiting:
                parts.append(waiting)
        return parts

    def _refuse_if_all_failed(self, waiting: list[Row]) -> None:
        """A captioner that fails on everything costs no data set; the next run asks it again."""
        if all(row.get("fault") for row in waiting):
            first, count = waiting[0], len(waiting)
            waiting.clear()
            key = self.source[first["index"]].key
            raise ConfigError(f"no caption came of the first {count} pictures; of {key}, {first['fault']}")

    def _write_shards(self, rows: Callable[[], Iterator[Row]], at_most: int) -> list[tuple[str, int]]:
        """(file, samples) of each shard, in order. Those that are there are whole and are kept."""
        wanted = ("index", "sha256", "captions", "shard")
        kept = ({name: row[name] for name in wanted} for row in rows() if row["dropped_by"] is None)
        captions = (captions_of(row) for row in rows() if row["dropped_by"] is None)
        suffixes = frozenset(suffix for those in captions for suffix in sidecar_suffixes(those))
        work = Work("shards", partial(partial, write_shard, source=self.source, out=self.out, suffixes=suffixes))
        shards: list[tuple[str, int]] = []
        for (result,) in self.driver.map(work, _batches(kept, self.config.shard_size)):
            shards.append((result["shard"], result["num_samples"]))
            self.on_progress(sum(count for _, count in shards), at_most, "write")
        return shards


def _caption_step(
    source: DataSource, config: CurationConfig, captioner: CaptionerConfig, load_scorer: ScorerLoader | None
) -> Step:
    loaded = captioner if isinstance(captioner, ExistingCaptions) else load_captioner(captioner)
    scorer = load_scorer(config.scorer.model, device=config.scorer.device) if config.scorer and load_scorer else None
    name = captioner_name(captioner)
    return partial(steps.caption, source=source, captioner=loaded, name=name, scorer=scorer)


def _check(config: CurationConfig, load_scorer: ScorerLoader | None) -> Scorer | None:
    """Whatever would fail only after all pictures have been looked at; the scorer of the recipe."""
    for captioner in config.captioners:
        if not isinstance(captioner, ExistingCaptions):
            check_captioner(captioner)
    if config.scorer is None:
        return None
    if load_scorer is None:
        raise ConfigError(f"the recipe names the scorer {config.scorer.model}; give load_scorer, which makes it")
    return load_scorer(config.scorer.model, device="cpu")


def _check_source(source: DataSource, out: Path, config: CurationConfig) -> None:
    if source.has_latents():
        raise RequestError(f"{source.path} holds cached features; curation needs the pictures that they were made from")
    here, there = out.resolve(), source.path.resolve()
    if here == there or (source.path.is_dir() and here.is_relative_to(there)):
        raise RequestError(f"{out} lies in the data set {source.path}; choose a folder outside of it")
    if not any(isinstance(captioner, ExistingCaptions) for captioner in config.captioners):
        return
    present = {item.source for index in range(len(source)) for item in source[index].captions}
    for captioner in config.captioners:
        if captioner_name(captioner) in present:
            raise ConfigError(
                f"{source.path} has captions of {captioner_name(captioner)!r} already; give the captioner another "
                f"source, or keep only some with {{type: existing, sources: [...]}}"
            )


def _index_batches(indices: NDArray[np.int64], start: int, size: int) -> Iterator[list[Row]]:
    for first in range(start, len(indices), size):
        yield [{"index": int(index)} for index in indices[first : first + size]]


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, size)):
        yield batch
