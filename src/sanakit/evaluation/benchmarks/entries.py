"""Reading the published files of GenEval, DPG-Bench and MJHQ-30K, and where their scorers look for pictures."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sanakit.common.config import json_values
from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.data.sources.files import lines_of, read_text
from sanakit.evaluation.benchmarks.world_geneval import world_geneval
from sanakit.worlds.banks.bank_files import load_bank

Suite = Literal["geneval", "dpg", "mjhq"]
_Row = tuple[str, str, str, Mapping[str, Any]]  # key, prompt, category, metadata

NUM_IMAGES: dict[Suite, int] = {"geneval": 4, "dpg": 4, "mjhq": 1}  # of every prompt, as published
_EXPECTED: dict[Suite, str] = {
    "geneval": "GenEval's evaluation_metadata.jsonl, or the word starter",
    "dpg": "the folder of DPG-Bench's prompts (*.txt), or its dpg_bench.csv",
    "mjhq": "MJHQ-30K's meta_data.json",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptEntry:
    """One prompt; ``index`` is its place in the whole list, ``category`` GenEval's tag or MJHQ's folder, else ""."""

    index: int
    key: str
    prompt: str
    category: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptList:
    """A benchmark's prompts in their published order; ``sha256`` is of what was read of them."""

    suite: Suite
    source: str
    entries: tuple[PromptEntry, ...]
    sha256: str

    def first(self, limit: int) -> PromptList:
        return replace(self, entries=self.entries[:limit])

    def picture_path(self, entry: PromptEntry, number: int) -> Path:
        """Where picture ``number`` of a prompt belongs, below the folder that the benchmark's own scorer is given.

        GenEval: ``00000/samples/0000.png`` (beside it ``00000/metadata.jsonl``). DPG-Bench: one file of all pictures
        of a prompt, ``KEY.png``. MJHQ-30K: ``CATEGORY/ID.png``, further pictures ``CATEGORY/ID-1.png``.
        """
        match self.suite:
            case "geneval":
                return Path(f"{entry.index:05d}", "samples", f"{number:04d}.png")
            case "dpg":
                return Path(f"{entry.key}.png")
            case "mjhq":
                return Path(entry.category, f"{entry.key}.png" if number == 0 else f"{entry.key}-{number}.png")


def read_prompt_list(suite: Suite, source: str, *, seed: int = 0) -> PromptList:
    """Read a benchmark's prompts.

    Args:
        source: a path, or "starter" for a GenEval list of the names of the tiny bank, which ``seed`` decides.

    Raises:
        RequestError: the file is not there or is not the published one; the sentence says what was expected.
    """
    if suite == "geneval" and source == "starter":
        return _as_list(suite, source, _geneval(world_geneval(load_bank("tiny"), seed=seed)))
    path = as_path(source)
    if not path.exists():
        raise RequestError(f"{source} does not exist; give {_EXPECTED[suite]}")
    try:
        match suite:
            case "geneval":
                rows = _geneval([json_values(line) for line in lines_of(read_text(path)) if line.strip()])
            case "dpg":
                rows = _dpg_folder(path) if path.is_dir() else _dpg_table(path)
            case "mjhq":
                rows = _mjhq(json_values(path.read_bytes()))
    except OSError as error:
        raise RequestError(f"{source} cannot be read ({error.strerror}); give {_EXPECTED[suite]}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{source} is not {_EXPECTED[suite]} ({type(error).__name__}: {error})") from error
    if not rows:
        raise RequestError(f"{source} holds no prompts; give {_EXPECTED[suite]}")
    return _as_list(suite, source, rows)


def read_propositions(path: Path) -> dict[str, list[dict[str, str]]]:
    """The questions of each item of ``dpg_bench.csv``, in their order.

    Raises:
        RequestError: the file is not that table.
    """
    questions: dict[str, list[dict[str, str]]] = {}
    for row in _table(path):
        questions.setdefault(row["item_id"], []).append(row)
    return questions


def _as_list(suite: Suite, source: str, rows: list[_Row]) -> PromptList:
    for key, _, category, _ in rows:
        for part in (key, category):
            if "/" in part or "\\" in part or part in {".", ".."}:
                raise RequestError(f"{source} names a file {part!r}, which leads out of the folder; it is not used")
    entries = tuple(
        PromptEntry(index=index, key=key, prompt=prompt, category=category, metadata=metadata)
        for index, (key, prompt, category, metadata) in enumerate(rows)
    )
    text = json.dumps(rows, sort_keys=True)
    return PromptList(suite=suite, source=source, entries=entries, sha256=hashlib.sha256(text.encode()).hexdigest())


def _geneval(records: list[dict[str, Any]]) -> list[_Row]:
    for record in records:
        for wanted in record["include"]:
            _ = wanted["class"], int(wanted["count"])
    return [(f"{index:05d}", record["prompt"], record["tag"], record) for index, record in enumerate(records)]


def _dpg_folder(folder: Path) -> list[_Row]:
    return [(file.stem, read_text(file).strip(), "", {}) for file in sorted(folder.glob("*.txt"))]


def _dpg_table(path: Path) -> list[_Row]:
    prompts: dict[str, str] = {}
    for row in _table(path):
        prompts.setdefault(row["item_id"], row["text"])
    return [(key, prompts[key].strip(), "", {}) for key in sorted(prompts)]


def _table(path: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    needed = {"item_id", "text", "proposition_id", "dependency", "question_natural_language"}
    if not rows or not needed <= rows[0].keys():
        raise RequestError(f"{path} is not dpg_bench.csv; its first line must name {', '.join(sorted(needed))}")
    return rows


def _mjhq(content: dict[str, dict[str, str]]) -> list[_Row]:
    return [(key, record["prompt"], record["category"], {}) for key, record in content.items()]
