"""The steps of a curation, each a plain function over a batch of rows. The drivers differ only in who calls them.

A row is a mapping of plain values, so that it passes between processes as JSON; ``index`` is the place of its sample
in the data source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from sanakit.common.errors import PictureError
from sanakit.data.curation.captioners import Captioner, CaptionerFault, Scorer, ask_each, is_cut
from sanakit.data.curation.config import ExistingCaptions, FilterConfig
from sanakit.data.curation.near_duplicates import perceptual_hash
from sanakit.data.pictures import decode_picture
from sanakit.data.samples import Caption
from sanakit.data.sources.data_source import DataSource

if TYPE_CHECKING:
    from PIL import Image

Row = dict[str, Any]
Step = Callable[[list[Row]], list[Row]]


def look(rows: list[Row], source: DataSource, filters: FilterConfig) -> list[Row]:
    """Decode each picture: its hashes, its size, and the first rule that drops it."""
    return [_look_at(row["index"], source, filters) for row in rows]


def _look_at(index: int, source: DataSource, filters: FilterConfig) -> Row:
    facts: Row = {"index": index, "sha256": None, "perceptual_hash": None, "width": None, "height": None}
    try:
        content = source.read_bytes(index)
        facts["sha256"] = hashlib.sha256(content).hexdigest()
        image = decode_picture(content)
    except PictureError as error:
        return facts | dropped("undecodable", None, str(error))
    facts["width"], facts["height"] = image.size
    hash_size = filters.duplicates.hash_size if filters.duplicates else 8
    facts["perceptual_hash"] = perceptual_hash(image, hash_size)
    return facts | judge_size(*image.size, filters)


def judge_size(width: int, height: int, filters: FilterConfig) -> Row:
    """The rule about sides and shapes that drops a picture, if one does."""
    if min(width, height) < filters.smallest_side:
        detail = f"its shorter side has {min(width, height)} px, fewer than {filters.smallest_side}"
        return dropped("smallest_side", float(min(width, height)), detail)
    if filters.aspect_ratio is not None:
        ratio, (low, high) = width / height, filters.aspect_ratio
        if not low <= ratio <= high:
            detail = f"{width} x {height} px have an aspect ratio outside {low:g} to {high:g}"
            return dropped("aspect_ratio", ratio, detail)
    return dropped(None, None, None)


def caption(
    rows: list[Row], source: DataSource, captioner: Captioner | ExistingCaptions, name: str, scorer: Scorer | None
) -> list[Row]:
    """The captions that one captioner has for each picture, with their scores if there is a scorer.

    A row may hold the ``text`` that the captioner said of its picture before, and ``scores`` by text.
    """
    image = cache(source.image)
    faults: list[str | None] = [None] * len(rows)
    if isinstance(captioner, ExistingCaptions):
        found = [existing_captions(source, row["index"], captioner) for row in rows]
    else:
        asked = [image(row["index"]) for row in rows if row.get("text") is None]
        answers = iter(ask_each(captioner, asked, name) if asked else ())
        texts = [next(answers) if row.get("text") is None else row["text"] for row in rows]
        faults = [text if isinstance(text, CaptionerFault) else None for text in texts]
        found = [[] if fault else [Caption(source=name, text=text)] for text, fault in zip(texts, faults, strict=True)]
    captions = [[{**asdict(item), "scored_by": None} for item in items if item.text.strip()] for items in found]
    if scorer is not None:
        _score(rows, captions, image, scorer)
    results = zip(rows, captions, faults, strict=True)
    return [{"index": row["index"], "captions": items, "fault": fault} for row, items, fault in results]


def existing_captions(source: DataSource, index: int, wanted: ExistingCaptions) -> list[Caption]:
    """Those that came with a sample and are wanted."""
    return [item for item in source[index].captions if wanted.sources is None or item.source in wanted.sources]


def _score(rows: list[Row], captions: list[list[Row]], image: Callable[[int], Image.Image], scorer: Scorer) -> None:
    """Put the scores of all captions of a batch in their places."""
    known = [row.get("scores", {}) for row in rows]
    pairs = [
        (image(row["index"]), item)
        for row, items, scores in zip(rows, captions, known, strict=True)
        for item in items
        if item["text"] not in scores
    ]
    found = scorer.score([picture for picture, _ in pairs], [item["text"] for _, item in pairs]) if pairs else []
    fresh = {id(item): float(score) for (_, item), score in zip(pairs, found, strict=True)}
    for items, scores in zip(captions, known, strict=True):
        for item in items:
            item["score"] = fresh.get(id(item), scores.get(item["text"]))
            item["scored_by"], item["scored_in_part"] = scorer.name, is_cut(scorer, item["text"])


def judge_captions(captions: list[Row], fault: str | None, min_score: float | None) -> Row:
    """The rule about captions that drops a picture, if one does; ``fault`` says why a captioner has none for it."""
    if not captions and fault is not None:
        return dropped("captioner_failed", None, fault)
    if not captions:
        return dropped("no_caption", None, "no captioner has a caption for it")
    scores = [item["score"] for item in captions if item["score"] is not None]
    if min_score is not None and scores and not max(scores) >= min_score:
        return dropped("score", max(scores), f"its best caption scores {max(scores):.4g}, less than {min_score:g}")
    return dropped(None, None, None)


def dropped(rule: str | None, value: float | None, detail: str | None) -> Row:
    """The columns that say why a sample was dropped; all None: it was not."""
    return {"dropped_by": rule, "dropped_value": value, "dropped_detail": detail}
