"""What captioners and scorers said of pictures, kept by content in the user's cache, as latents are.

A caption is found by the bytes of the picture and all that decides what its captioner says, a score by the bytes of
the picture, the text and the scorer. So another recipe, a renamed file or a second data set with the same pictures asks
for nothing twice. A captioner whose answer depends on a picture's company gives what it said first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sanakit.common.user_cache import content_facts, user_cache_folder
from sanakit.data.curation.captioners import Scorer
from sanakit.data.curation.config import CaptionerConfig, ExistingCaptions, PluginCaptions, TransformersCaptions
from sanakit.data.curation.steps import Row, existing_captions
from sanakit.data.sources.data_source import DataSource

logger = logging.getLogger(__name__)

_FILE = "answers.sqlite"
_AT_ONCE = 500  # keys in one question


def captioner_identity(config: CaptionerConfig) -> str | None:
    """SHA-256 of all that decides what a captioner says of a picture: its settings, and the code of a plug-in or the
    files of a model. None: that cannot be told, or it invents nothing."""
    if isinstance(config, ExistingCaptions):
        return None
    settings = {
        name: value for name, value in asdict(config).items() if name not in ("source", "batch_size", "revision")
    }
    files = _code_of(config.target) if isinstance(config, PluginCaptions) else _model_files(config)
    return None if files is None else answer_key("captioner", json.dumps(settings, sort_keys=True), files)


def scorer_identity(scorer: Any) -> str | None:
    """Of a scorer that tells the hash of its weights, which those of sanakit do."""
    weights = getattr(scorer, "weights_hash", None)
    return None if not isinstance(weights, str) or scorer is None else answer_key("scorer", scorer.name, weights)


def answer_key(*facts: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass")).hexdigest()


def recall_answers(keys: Sequence[str]) -> dict[str, str]:
    """Those of the answers that are kept."""
    found: dict[str, str] = {}
    with _table() as table:
        for start in range(0, len(keys) if table is not None else 0, _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(part))
            assert table is not None
            found |= dict(table.execute(f"SELECT key, answer FROM answers WHERE key IN ({marks})", part))
    return found


def keep_answers(answers: Mapping[str, str]) -> None:
    """Keep them for the next time; where two differ the older one counts."""
    with _table() as table:
        if table is not None and answers:
            table.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", list(answers.items()))


def score_key(picture: str, text: str, scorer: str) -> str:
    """Of a picture with this SHA-256 and its caption, by the scorer of an identity."""
    return answer_key("score", picture, text, scorer)


class Answers:
    """What is kept of one captioner's pass: goes into the rows beforehand, and comes out of them afterwards.

    Args:
        scorer: of the recipe, if it has one.
        digests: index to the SHA-256 of the picture file.
    """

    def __init__(
        self, source: DataSource, captioner: CaptionerConfig, scorer: Scorer | None, digests: Mapping[int, str]
    ) -> None:
        self._source, self._captioner, self._digests = source, captioner, digests
        self._said_by, self._scored_by = captioner_identity(captioner), scorer_identity(scorer)

    def add_known(self, rows: list[Row]) -> list[Row]:
        """The rows with the ``text`` and the ``scores`` that are known of their pictures."""
        keys = [self._text_key(row["index"]) for row in rows]
        known = recall_answers([key for key in keys if key])
        rows = [{**row, "text": known.get(key)} if key else row for row, key in zip(rows, keys, strict=True)]
        if self._scored_by is None:
            return rows
        texts = [(row["index"], text) for row in rows for text in self._texts_of(row)]
        found = recall_answers([self._score_key(index, text) for index, text in texts])
        scores: dict[int, dict[str, float]] = {row["index"]: {} for row in rows}
        for index, text in texts:
            if (answer := found.get(self._score_key(index, text))) is not None:
                scores[index][text] = float(answer)
        return [{**row, "scores": scores[row["index"]]} for row in rows]

    def keep(self, rows: list[Row]) -> None:
        """What was answered; a fault is asked again."""
        answers: dict[str, str] = {}
        for row in rows:
            if (key := self._text_key(row["index"])) and row["fault"] is None:
                answers[key] = row["captions"][0]["text"] if row["captions"] else ""
            for item in row["captions"] if self._scored_by is not None else ():
                answers[self._score_key(row["index"], item["text"])] = repr(item["score"])
        keep_answers(answers)

    def _texts_of(self, row: Row) -> list[str]:
        if isinstance(self._captioner, ExistingCaptions):
            return [item.text for item in existing_captions(self._source, row["index"], self._captioner)]
        return [row["text"]] if row.get("text") else []

    def _text_key(self, index: int) -> str | None:
        return None if self._said_by is None else answer_key("caption", self._digests[index], self._said_by)

    def _score_key(self, index: int, text: str) -> str:
        return score_key(self._digests[index], text, str(self._scored_by))


@contextmanager
def _table() -> Iterator[sqlite3.Connection | None]:
    """None where the cache cannot be used, which costs time only; what fails in its use ends the use."""
    opened, path = False, user_cache_folder() / "captions" / _FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT) WITHOUT ROWID")
            opened = True
            yield connection
    except (OSError, sqlite3.Error) as error:
        logger.info("captions and scores are not kept in %s: %s", path, error)
    if not opened:
        yield None


def _code_of(target: str) -> str | None:
    """SHA-256 of the file that a plug-in's class is in."""
    try:
        spec = importlib.util.find_spec(target.partition(":")[0])
        return hashlib.sha256(Path(str(spec and spec.origin)).read_bytes()).hexdigest()
    except (ImportError, OSError, ValueError):
        return None


def _model_files(config: TransformersCaptions) -> str | None:
    """What tells a model's files from others, unread; of a hub id its commit, or those in the snapshot that is used."""
    folder = Path(config.model).expanduser()
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        if config.revision is not None:
            return config.revision
        place = try_to_load_from_cache(config.model, "config.json")
        if not isinstance(place, str):
            return None
        folder = Path(place).parent
    files = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    return json.dumps([(name, *content_facts(facts)) for name, facts in files])
