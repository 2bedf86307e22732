"""Adding scores of an image-text scorer to a data set, as SANA's sidecars beside its shards or pictures."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.common.config import json_values
from sanakit.common.errors import PictureError, RequestError
from sanakit.common.files import write_whole
from sanakit.common.folders import alone_in
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.curation.captioners import Scorer, is_cut
from sanakit.data.curation.kept_answers import keep_answers, recall_answers, score_key, scorer_identity
from sanakit.data.open import open_data
from sanakit.data.pictures import decode_picture
from sanakit.data.samples import Problem
from sanakit.data.sources.data_source import DataSource
from sanakit.data.sources.sidecars import SCORE_SUFFIX, sidecar_suffix

_PICTURES_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What was done: captions that were scored now, captions that had a score, and pictures that could not be read.

    ``cut`` names samples with captions that are longer than the scorer reads: it scored their beginning.
    """

    num_scored: int
    num_kept: int
    problems: tuple[Problem, ...]
    cut: tuple[str, ...] = ()


def score_captions(
    path: Path,
    scorer: Scorer,
    *,
    replace: bool = False,
    also: Sequence[str | Path] = (),
    on_progress: OnProgress = no_progress,
) -> Scored:
    """Score every caption of a folder of pictures, or of shards, and write the scores beside them.

    A shard ``00000.tar`` gets ``00000_SOURCE_clip_score.json`` with ``{key: {source: score}}`` for each source of
    captions, a picture ``a.png`` gets ``a_SOURCE_clip_score.json``. Each shard's scores are written as soon as they
    are whole, so the same command continues.

    Args:
        replace: score captions anew that have a score.
        also: as of ``open_data``.

    Raises:
        RequestError: the layout has no place for scores.
        OutputError: a file cannot be written.
    """
    source = open_data(path, also=also)
    if source.has_latents() or source.layout not in ("folder", "wids"):
        raise RequestError(
            f"{path} has the layout {source.layout}, which has no place for scores; `sanakit data build` makes shards "
            f"of it, which have"
        )
    places: dict[Path, list[int]] = defaultdict(list)
    for index in range(len(source)):
        places[_stem(source, index)].append(index)
    problems: list[Problem] = []
    scored = kept = done = 0
    cut: list[str] = []
    for stem, indices in places.items():
        found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)  # source, key, source, score
        for start in range(0, len(indices), _PICTURES_AT_ONCE):
            part = indices[start : start + _PICTURES_AT_ONCE]
            for index, caption_source, score in _score(source, part, scorer, problems, replace=replace):
                found[caption_source][_own_key(source, index)] = {caption_source: score}
                scored += 1
                if any(c.source == caption_source and is_cut(scorer, c.text) for c in source[index].captions):
                    cut.append(source[index].key)
            done += len(part)
            on_progress(done, len(source), "scoring")
        for caption_source, scores in found.items():
            _merge(stem.with_name(f"{stem.name}{sidecar_suffix(caption_source)}{SCORE_SUFFIX}.json"), scores)
        kept += sum(c.score is not None for i in indices for c in source[i].captions) if not replace else 0
    return Scored(num_scored=scored, num_kept=kept, problems=(*source.problems, *problems), cut=tuple(cut))


def _score(
    source: DataSource, indices: Sequence[int], scorer: Scorer, problems: list[Problem], *, replace: bool
) -> Iterator[tuple[int, str, float]]:
    """Index, source of the caption and its score, of all captions that need one."""
    scored_by = scorer_identity(scorer)
    images, texts, names = [], [], []
    kept: dict[str, str] = {}
    for index in indices:
        wanted = [caption for caption in source[index].captions if replace or caption.score is None]
        if not wanted:
            continue
        try:
            content = source.read_bytes(index)
            digest = hashlib.sha256(content).hexdigest()
            keys = [score_key(digest, caption.text, scored_by or "") for caption in wanted]
            known = recall_answers(keys) if scored_by else {}
            image = decode_picture(content) if known.keys() < set(keys) else None
        except PictureError as error:
            problems.append(Problem(key=source[index].key, reason="undecodable", detail=str(error)))
            continue
        for caption, key in zip(wanted, keys, strict=True):
            if key in known:
                yield index, caption.source, float(known[key])
            elif image is not None:
                images.append(image)
                texts.append(caption.text)
                names.append((index, caption.source, key))
    for (index, name, key), score in zip(names, scorer.score(images, texts) if texts else (), strict=True):
        kept[key] = repr(float(score))
        yield index, name, float(score)
    if scored_by:
        keep_answers(kept)


def _stem(source: DataSource, index: int) -> Path:
    """Path without suffix of the shard, or of the picture."""
    return source.blob(index).path.with_suffix("")


def _own_key(source: DataSource, index: int) -> str:
    """The key as the sidecar has it: in its shard, or the name of the picture without its suffix."""
    if source.blob(index).path.suffix.lower() != ".tar":
        return _stem(source, index).name
    return source[index].key.removeprefix(f"{_stem(source, index).name}/")


def _merge(path: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Add to what the file holds, which another process may be adding to as well."""
    with alone_in(path.parent):
        content: dict[str, Any] = {}
        if path.is_file():
            with suppress(ValueError):
                content = json_values(path.read_bytes())
        for key, by_source in scores.items():
            content.setdefault(key, {}).update(by_source)
        write_whole(path, json.dumps(content, ensure_ascii=False, indent=0))
