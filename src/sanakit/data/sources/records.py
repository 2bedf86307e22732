"""What a record (a row, a JSON object) says about a picture: its file and its captions, whatever people call them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sanakit.data.samples import MAIN_SOURCE, Caption
from sanakit.data.sources.files import is_clean

# Columns that name the picture, the surest first; "Image Name" and "imageName" are image_name.
FILE_COLUMNS = (
    "file_name", "filename", "image_file", "image_path", "img_path", "image_name", "img_name", "image", "img",
    "picture", "photo", "video_file", "video_path", "video_name", "video", "clip_path", "clip_name", "clip", "path",
    "file", "filepath", "file_path", "images", "videos",
)  # fmt: skip
_CONVERSATION = "conversations"  # of LLaVA's lists
_CAPTION_WORDS = frozenset({"caption", "captions", "prompt", "prompts", "text", "texts", "description", "alt"})
# A name with one of these is about a caption and is none: negative_prompt, text_length, prompt_source, caption_file.
_OTHER_WORDS = frozenset({
    "negative", "source", "score", "scores", "clipscore", "similarity", "length", "len", "num", "number", "count",
    "id", "ids", "url", "language", "lang", "mask", "embeds", "embedding", "feature", "features", "file", "path",
    "name", "tokens",
})  # fmt: skip
_SCORE_NAME = re.compile(r"^(?P<source>.*?)_?(clip_?)?scores?$", re.IGNORECASE)
_NUMBER = re.compile(r"(\.[A-Za-z]{3,4})#\d+\s*$")
PROMPT_SOURCE = "prompt_source"  # of our shards: what the caption under "prompt" was called before
SCORES = "scores"  # {source: score}


def file_column(names: Iterable[str]) -> str | None:
    """The column that names the picture, whatever its case."""
    by_name = {"_".join(re.findall(r"[a-z0-9]+", _apart(str(name)))): str(name) for name in names}
    return next((by_name[name] for name in FILE_COLUMNS if name in by_name), None)


def picture_name(value: Any) -> str | None:
    """The name of a file in a cell: a text, a list of one, or what ``datasets`` writes of a file that it only names."""
    match value:
        case str() if value.strip():
            return without_number(value)
        case [one]:
            return picture_name(one)
        case {"path": str() as path, **others} if not others.get("bytes"):
            return picture_name(path)
        case _:
            return None


def without_number(name: str) -> str:
    """``1.jpg`` for ``1.jpg#0``, as Flickr's lists call the captions of one picture."""
    return _NUMBER.sub(r"\1", name)


def is_caption_column(name: str) -> bool:
    words = set(re.split(r"[^a-z]+", _apart(name)))
    return bool(words & _CAPTION_WORDS) and not words & _OTHER_WORDS


def _apart(name: str) -> str:
    """ "imageName" is image_name."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def holds_captions(names: Iterable[str]) -> bool:
    """Whether one of these columns does."""
    return any(name == _CONVERSATION or is_caption_column(name) for name in map(str, names))


def captions_of(record: Mapping[str, Any]) -> list[Caption]:
    """Every caption of a record with its score, the main one first; empty ones have the text ``""``.

    Raises:
        ValueError: a caption is no text, in one sentence.
    """
    captions: list[Caption] = []
    for name, value in record.items():
        if isinstance(name, str) and is_caption_column(name):
            captions += _captions_under(name.strip(), value)
        elif name == _CONVERSATION and isinstance(value, list):
            captions += _answers(value)
    if any(not is_clean(caption.text) for caption in captions):
        raise ValueError("its caption is not UTF-8; save it as UTF-8")
    own_name = record.get(PROMPT_SOURCE)
    if isinstance(own_name, str) and own_name:
        captions = [replace(c, source=own_name) if c.source == MAIN_SOURCE else c for c in captions]
    return with_scores(captions, scores_of(record, captions))


def _answers(turns: list[Any]) -> list[Caption]:
    """What the model says of the picture in a conversation of one question."""
    said = [turn.get("value") for turn in turns if isinstance(turn, dict) and turn.get("from") in ("gpt", "assistant")]
    if len(said) > 1:
        raise ValueError(f"its {_CONVERSATION} have {len(said)} answers, and a caption is one")
    return [caption for text in said for caption in _captions_under(_CONVERSATION, text)]


def unused_texts(record: Mapping[str, Any]) -> set[str]:
    """Names in a record whose values are texts that nothing here takes: neither file, caption nor score."""
    return {
        str(name).strip() for name, value in record.items()
        if _holds_text(value) and str(name).strip() and not is_caption_column(str(name))
        and file_column([str(name)]) is None and name != PROMPT_SOURCE
    }  # fmt: skip


def _holds_text(value: Any) -> bool:
    match value:
        case str():
            return bool(value.strip()) and as_score(value) is None  # numbers in CSV are texts as well
        case list() | tuple():
            return any(isinstance(item, str) and item.strip() for item in value)
        case _:
            return False


def _captions_under(name: str, value: Any) -> list[Caption]:
    match value:
        case None:
            return [Caption(source=name, text="")]
        case str():
            return [Caption(source=name, text=value.strip())]
        case float() if math.isnan(value):
            return [Caption(source=name, text="")]
        case list() | tuple():
            return [caption for item in value for caption in _captions_under(name, item)]
        case dict():
            return [caption for source, text in value.items() for caption in _captions_under(str(source), text)]
        case _:
            raise ValueError(f"its {name} is {_short(value)}, and a caption is text")


def scores_of(record: Mapping[str, Any], captions: list[Caption]) -> dict[str, float]:
    """Scores by source: the mapping ``scores``, and columns such as ``blip_clip_score`` or just ``score``."""
    sources = [caption.source for caption in captions]
    scores: dict[str, float] = {}
    for name, value in record.items():
        if name == SCORES and isinstance(value, dict):
            scores |= {str(source): number for source, item in value.items() if (number := as_score(item)) is not None}
        elif (found := _SCORE_NAME.match(str(name))) and (number := as_score(value)) is not None and sources:
            source = found["source"] or sources[0]
            scores[source] = number
    return scores


def with_scores(captions: list[Caption], scores: Mapping[str, float]) -> list[Caption]:
    return [replace(c, score=scores[c.source]) if c.source in scores else c for c in captions]


def as_score(value: Any) -> float | None:
    """A finite number, also if it is written as text; None for everything else."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def size_of(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """``(width, height)`` if the record says it."""
    width, height = record.get("width"), record.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
