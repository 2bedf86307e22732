"""The weights in the package are those of their card and of their scores, and the pages say what the scores say.

Nothing here is written down twice: new weights pass as soon as their card, scores and pages are theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from sanakit.checkpoints.files.reader import read_header, read_tensors
from sanakit.checkpoints.identity.card import ModelCard, read_card
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.sources.content_hashes import verify_hashes
from sanakit.checkpoints.sources.origin import shipped_folder
from sanakit.checkpoints.text.starter_text_encoder import starter_text_encoder_folder

ROOT = Path(__file__).parents[1]
STARTER = Path(str(resources.files("sanakit").joinpath("starter")))
CELL = re.compile(r"(\d+) % \[(-?\d+), (\d+)\]")


@dataclass(frozen=True)
class Score:
    """A number of a ``scores.json``: the names that lead to it, and itself with its interval in percent."""

    names: tuple[str, ...]
    percent: tuple[int, int, int]


def read(*names: str) -> Any:
    return json.loads(STARTER.joinpath(*names).read_text(encoding="utf-8"))


def card() -> ModelCard:
    found = read_card(STARTER)
    assert found is not None
    return found


def scores(place: Any, names: tuple[str, ...] = ()) -> Iterator[Score]:
    """Every number with an interval, in a report or in a tree of names."""
    if isinstance(place, dict):
        value = place.get("value", place.get("mean"))
        names = (*names, place["name"]) if "name" in place else names
        if isinstance(value, float | int) and {"low", "high"} <= place.keys():
            yield Score(names, tuple(round(100 * number) for number in (value, place["low"], place["high"])))  # type: ignore[arg-type]
        for name, inner in place.items():
            yield from scores(inner, (*names, name))
    elif isinstance(place, list):
        for inner in place:
            yield from scores(inner, names)


def table_cells(page: Path, heading: str) -> list[tuple[str, str, tuple[int, int, int]]]:
    """(row, column, percents) of every cell like ``85 % [70, 100]`` in the tables of a section."""
    section = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(heading))
    found, head = [], list[str]()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells or not head:
            head = cells
            continue
        for column, cell in zip(head[1:], cells[1:], strict=True):
            if match := CELL.match(cell):
                found.append((cells[0], column, tuple(map(int, match.groups()))))
    return found  # type: ignore[return-value]


def words(text: str) -> set[str]:
    """Of a name or a label, without their plural: "Held-out objects" and "heldout_object" have the same."""
    return {word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.lower().replace("-", ""))}


def closest(label: str, known: list[Score]) -> list[Score]:
    """Those of that name, else those whose names share the most words with a label of a row or column; none where no
    word is shared."""
    if same := [each for each in known if words(each.names[-1]) == words(label)]:
        return same
    shared = [len(words(label) & words(" ".join(each.names).replace("_", " "))) for each in known]
    best = max(shared, default=0)
    return [each for each, count in zip(known, shared, strict=True) if count == best > 0]


def expected(row: str, column: str, known: list[Score]) -> set[tuple[int, int, int]]:
    """What a cell may say: the scores of the row's name, and among those of the column's where some are."""
    of_row = closest(row, known)
    return {each.percent for each in closest(column, of_row) or of_row}


def test_weights_are_those_of_the_card() -> None:
    checks = {check.name: check for check in verify_hashes("starter")}
    for component in ("transformer", "autoencoder"):
        assert checks[component].found == card().hashes[component], component


def test_the_starter_of_few_steps_is_beside_the_starter_whose_parts_it_uses() -> None:
    checks = {check.name: check for check in verify_hashes("starter-sprint")}
    sprint = read_card(shipped_folder("starter-sprint"))
    assert sprint is not None
    assert checks["transformer"].found == sprint.hashes["transformer"]
    assert {**sprint.hashes, "transformer": ""} == {**card().hashes, "transformer": ""}
    assert sprint.distilled
    assert sprint.trained_from.split("(")[1].rstrip(")") == card().hashes["transformer"][:12], "distil it again"


def test_the_starter_of_clips_begins_with_the_weights_of_the_starter_whose_text_side_it_uses() -> None:
    checks = {check.name: check for check in verify_hashes("starter-video")}
    clips = read_card(shipped_folder("starter-video"))
    assert clips is not None
    for component in ("transformer", "autoencoder"):
        assert checks[component].found == clips.hashes[component], component
    assert clips.hashes["text_encoder"] == card().hashes["text_encoder"]
    assert (clips.text, clips.text_encoder) == (card().text, card().text_encoder)
    assert "motions" in read("video", "words.json"), "info tells what things may do"
    told = read("video", "training", "scores.json")["settings"]["hash"]
    assert len(told) >= 10
    assert clips.model_hash.startswith(told)
    assert sum(file.stat().st_size for file in (STARTER / "video").rglob("*.safetensors")) < 16_000_000


def test_the_controlnet_of_the_starter_was_trained_beside_its_transformer() -> None:
    file = STARTER / "controlnet" / "diffusion_pytorch_model.safetensors"
    assert card().hashes["transformer"][:12] in read_header([file]).metadata["trained_from"], "train it again"
    assert file.stat().st_size < 6_000_000


@pytest.mark.parametrize("network", ["dual_encoder", "recogniser"])
def test_weights_of_small_networks_are_those_of_their_scores(network: str) -> None:
    tensors = {name: part.float() for name, part in read_tensors([STARTER / network / "model.safetensors"]).items()}
    said = json.dumps(read("training", network, "scores.json"))
    assert hash_tensors(tensors) in said


def test_scores_are_of_these_weights() -> None:
    told = read("training", "scores.json")["settings"]["hash"]
    assert len(told) >= 10
    assert card().model_hash.startswith(told)


@pytest.mark.parametrize(
    ("page", "heading", "file"),
    [
        ("README.md", "The starter", "scores.json"),
        ("docs/dual-encoder.md", "How good it is", "dual_encoder/scores.json"),
        ("docs/video.md", "The starter of clips", "../video/training/scores.json"),
    ],
)
def test_tables_of_scores_are_those_of_the_file(page: str, heading: str, file: str) -> None:
    known = list(scores(read("training", *file.split("/"))))
    cells = table_cells(ROOT / page, heading)
    assert len(cells) >= 5
    for row, column, percent in cells:
        assert percent in expected(row, column, known), f"{page}: {row}, {column}"


def test_a_forged_table_is_noticed() -> None:
    known = list(scores({"heldout": {"count": {"mean": 0.85, "low": 0.7, "high": 1.0}, "colour": {"mean": 0.95,
        "low": 0.9, "high": 1.0}}, "seen": {"count": {"mean": 1.0, "low": 1.0, "high": 1.0}}}))  # fmt: skip
    assert expected("count", "held-out", known) == {(85, 70, 100)}
    assert expected("counts, one to four", "seen", known) == {(100, 100, 100)}
    assert expected("position", "seen", known) == set()


@pytest.mark.network
@pytest.mark.slow
def test_ten_prompts_are_drawn_as_they_say() -> None:
    """Names of the model's own, at seed 0, read by the recogniser that ships; the language model is fetched once."""
    import sanakit
    from sanakit.evaluation.drawing import drawing_with
    from sanakit.scoring.reading.load import load_reader

    pipeline, reader = sanakit.load("starter"), load_reader()
    starter_text_encoder_folder()
    checks = {check.name: check for check in verify_hashes("starter")}
    assert checks["text_encoder"].found == card().hashes["text_encoder"]
    names = [thing["name"] for thing in pipeline.bundle.words["things"] if thing["name"] in reader.words.names]
    chosen = names[:: max(len(names) // 10, 1)][:10]
    pictures = drawing_with(pipeline)([f"a {name}" for name in chosen], [0] * len(chosen))
    read = [{thing.name for thing in reader.read(picture).objects} for picture in pictures]
    right = [name for name, seen in zip(chosen, read, strict=True) if name in seen]
    assert len(right) >= 6, f"only {right} of {chosen}"
