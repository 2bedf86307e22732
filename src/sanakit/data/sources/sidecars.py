"""SANA's external captions and scores: JSON files beside a shard (or a picture), keyed by sample.

``00000_VILA.json`` is ``{key: {caption_type: text}}``, ``00000_VILA_clip_score.json`` ``{key: {caption_type: score}}``.
Whether a file holds captions or scores is told by what is in it; the suffixes are whatever lies there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sanakit.common.paths import composed, is_visible
from sanakit.data.samples import MAIN_SOURCE, Caption
from sanakit.data.sources.collect import ordered
from sanakit.data.sources.files import parse_json, read_text
from sanakit.data.sources.records import as_score, with_scores

SCORE_SUFFIX = "_clip_score"
_NOT_SIDECARS = frozenset({"_stats"})  # img2dataset's counts of a shard


@dataclass(slots=True)
class Extra:
    """What sidecars add to one sample."""

    captions: dict[str, str] = field(default_factory=dict)  # by source
    scores: dict[str, float] = field(default_factory=dict)


def sidecar_paths(stem: Path, files: Iterable[Path]) -> dict[str, Path]:
    """Suffix (``""``, ``"_VILA"``) to path, of those of ``files`` that are sidecars of ``stem``."""
    found = {}
    for path in files:
        name, start = composed(path.stem), composed(stem.name)
        suffix = name.removeprefix(start)
        fits = name.startswith(start) and (suffix == "" or suffix.startswith("_"))
        if fits and path.suffix.lower() == ".json" and suffix not in _NOT_SIDECARS and is_visible(path.name):
            found[suffix] = path
    return dict(sorted(found.items()))


def read_sidecar(path: Path) -> Mapping[str, Any]:
    """The mapping from keys.

    Raises:
        ValueError: it is none, or cannot be read, in one sentence.
    """
    content = parse_json(read_text(path))
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object keyed by sample")
    return {composed(key): entry for key, entry in content.items()}


def add_entry(extra: Extra, entry: Any, suffix: str) -> None:
    """Take what a sidecar with that suffix says about one sample.

    A caption under ``prompt`` in a file with a suffix is called by the suffix, as upstream does, so that it does not
    replace the sample's own prompt; so is a bare text or number.

    Raises:
        ValueError: it is neither captions nor scores.
    """
    name = suffix.removesuffix(SCORE_SUFFIX).removesuffix("_score").strip("_") or MAIN_SOURCE
    for source, value in (entry if isinstance(entry, dict) else {MAIN_SOURCE: entry}).items():
        is_score = as_score(value) is not None and (not isinstance(value, str) or "score" in suffix)
        source = name if source in (MAIN_SOURCE, MAIN_SOURCE + SCORE_SUFFIX) else str(source)
        if is_score:
            extra.scores[source] = as_score(value) or 0.0
        elif isinstance(value, str):
            extra.captions[source] = value.strip()
        else:
            raise ValueError(f"{source} is neither a text nor a number")


def with_extra(captions: Sequence[Caption], extra: Extra, main: str | None = None) -> list[Caption]:
    """Captions with those of the sidecars; scores of ``prompt`` belong to the main caption, by default the first."""
    main = main or (captions[0].source if captions else MAIN_SOURCE)
    texts = {caption.source: caption for caption in ordered(captions)}
    for source, text in extra.captions.items():
        texts[source] = Caption(source=source, text=text)
    # Scores are named as their captions are, or with an underscore before and ``_clip_score`` after that.
    plain = {name: name if name in texts else name.removesuffix(SCORE_SUFFIX).lstrip("_") for name in extra.scores}
    scores = {plain[name]: score for name, score in extra.scores.items()}
    if main not in scores and MAIN_SOURCE in scores and MAIN_SOURCE not in texts:
        scores[main] = scores[MAIN_SOURCE]
    return with_scores(list(texts.values()), scores)


def sidecar_suffix(source: str) -> str:
    """``_VILA``; characters that a file name cannot have everywhere become ``-``."""
    suffix = "_" + re.sub(r"[^\w.+-]", "-", source)[:80]
    return suffix + "-" if suffix in _NOT_SIDECARS else suffix
