"""Runs that stop and go on, folders of other runs, and the layouts of the benchmarks' own scorers."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import OutputError, RequestError
from sanakit.evaluation.benchmarks import run as module
from sanakit.evaluation.benchmarks.entries import PromptList, read_prompt_list
from sanakit.evaluation.benchmarks.run import Drawing, Drawn, as_grid, draw_prompt_list, pictures_in
from sanakit.evaluation.benchmarks.score import Against, dpg_report, geneval_report, mjhq_report, score_item
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.record import ModelReference, PictureRecord, describe_image
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GeneratedImage, GenerationResult

MODEL = "a" * 64
SETTINGS: dict[str, Any] = {"num_inference_steps": 3, "width": 64, "height": 64}


class Painter:
    """One colour a seed, and the record that a pipeline would write."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, requests: Sequence[GenerationRequest]) -> GenerationResult:
        images = []
        for request in requests:
            self.seeds.append(request.seed)
            level = np.random.default_rng(request.seed).integers(256, size=(4, 4, 3), dtype=np.uint8)
            image = Image.fromarray(level).resize((64, 64))
            model = ModelReference(name="painter", source="x", hash=MODEL, dtypes={})
            record = PictureRecord(request=request, model=model, device="cpu", versions={}, image=describe_image(image))
            images.append(GeneratedImage(record=record, latent=None, image=image))  # type: ignore[arg-type]
        return GenerationResult(images=images)


def draw(prompts: PromptList, folder: Path, painter: Painter, num_images: int = 2, **changes: Any) -> Drawn:
    model = changes.pop("model", MODEL)
    options: dict[str, Any] = {"seed": 10, "settings": SETTINGS} | changes
    drawing = Drawing(prompts=prompts, num_images=num_images, **options)
    return draw_prompt_list(drawing, painter, model, folder)


@pytest.fixture
def geneval() -> PromptList:
    return read_prompt_list("geneval", "starter").first(3)


@pytest.fixture
def dpg(tmp_path: Path) -> PromptList:
    (tmp_path / "prompts").mkdir()
    for name in ("one", "two"):
        (tmp_path / "prompts" / f"{name}.txt").write_text(f"prompt {name}")
    return read_prompt_list("dpg", str(tmp_path / "prompts"))


@pytest.fixture
def mjhq(tmp_path: Path) -> PromptList:
    records = {f"{n:02}": {"category": "ab"[n % 2] * 3, "prompt": f"picture {n}"} for n in range(10)}
    (tmp_path / "meta_data.json").write_text(json.dumps(records))
    return read_prompt_list("mjhq", str(tmp_path / "meta_data.json"))


def test_geneval_layout_and_seeds(geneval: PromptList, tmp_path: Path) -> None:
    result = draw(geneval, tmp_path, Painter())
    files = sorted(file.relative_to(tmp_path / "pictures").as_posix() for file in tmp_path.rglob("*.*"))
    assert files == [
        f"{n:05d}/{name}" for n in range(3) for name in ("metadata.jsonl", "samples/0000.png", "samples/0001.png")
    ]
    assert json.loads((tmp_path / "pictures/00002/metadata.jsonl").read_text()) == dict(geneval.entries[2].metadata)
    assert [read_record(file).request.seed for group in result.files for file in group] == [10, 11, 12, 13, 14, 15]


def test_what_is_there_is_kept_and_what_is_damaged_is_drawn_again(geneval: PromptList, tmp_path: Path) -> None:
    first = draw(geneval, tmp_path, Painter())
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.png")}
    damaged, gone = first.files[1][0], first.files[2][1]
    damaged.write_bytes(before[damaged][:200])
    gone.unlink()
    painter = Painter()
    again = draw(geneval, tmp_path, painter)
    assert (again.num_drawn, again.num_kept) == (2, 4)
    assert painter.seeds == [12, 15]
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.png")} == before


@pytest.mark.parametrize(
    "changes", [{"seed": 11}, {"settings": SETTINGS | {"num_inference_steps": 4}}, {"model": "b" * 64}]
)
def test_pictures_of_another_run_are_refused(geneval: PromptList, tmp_path: Path, changes: dict[str, Any]) -> None:
    draw(geneval, tmp_path, Painter())
    with pytest.raises(RequestError, match="another run"):
        draw(geneval, tmp_path, Painter(), **changes)


class InCompany(Painter):
    """Another process draws into the same folder, and is quicker."""

    def __init__(self, prompts: PromptList, folder: Path, seed: int) -> None:
        super().__init__()
        self.other = lambda: draw(prompts, folder, Painter(), seed=seed)

    def __call__(self, requests: Sequence[GenerationRequest]) -> GenerationResult:
        if not self.seeds:
            self.other()
        return super().__call__(requests)


def test_two_processes_write_over_nothing_of_each_other(geneval: PromptList, tmp_path: Path) -> None:
    assert draw(geneval, tmp_path, InCompany(geneval, tmp_path, seed=10)).num_kept == 5
    assert len(list(tmp_path.rglob("*.png"))) == 6
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    other = tmp_path / "other"
    with pytest.raises(RequestError, match="is of another run"):
        draw(geneval, other, InCompany(geneval, other, seed=11))
    assert len(list(other.rglob("*.png"))) == len(before)
    assert {read_record(path).request.seed for path in other.rglob("*.png")} == set(range(11, 17))


def test_a_full_disk_keeps_what_is_done(geneval: PromptList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = module.write_image, []

    def full(path: Path, *arguments: Any, **how: Any) -> Path:
        calls.append(path)
        if len(calls) == 3:
            raise OutputError("no space") from OSError(errno.ENOSPC, "no space")
        return real(path, *arguments, **how)

    monkeypatch.setattr(module, "write_image", full)
    with pytest.raises(OutputError):
        draw(geneval, tmp_path, Painter())
    assert len(list(tmp_path.rglob("*.png"))) == 2
    monkeypatch.setattr(module, "write_image", real)
    assert draw(geneval, tmp_path, Painter()).num_kept == 2


def test_dpg_sheets_are_cut_apart_as_they_were_laid(dpg: PromptList, tmp_path: Path) -> None:
    painter = Painter()
    result = draw(dpg, tmp_path / "out", painter, num_images=4)
    assert painter.seeds == list(range(10, 18))
    assert [file.name for (file,) in result.files] == ["one.png", "two.png"]
    pictures = pictures_in(result.files[0][0], 4)
    assert [picture.size for picture in pictures] == [(64, 64)] * 4
    assert as_grid(pictures).tobytes() == Image.open(result.files[0][0]).convert("RGB").tobytes()
    assert draw(dpg, tmp_path / "out", Painter(), num_images=4).num_kept == 8
    with pytest.raises(RequestError, match="another"):
        draw(dpg, tmp_path / "out", Painter(), num_images=1)


class YesTo:
    name = weights_hash = resize_rule = "by hand"

    def __init__(self, *questions: str) -> None:
        self.questions = questions

    def answers_yes(self, image: Image.Image, question: str) -> bool:
        return question in self.questions


def test_dpg_counts_a_question_only_with_its_parents(dpg: PromptList, tmp_path: Path) -> None:
    rows = [
        {"proposition_id": str(number), "dependency": parents, "question_natural_language": text}
        for number, parents, text in [(1, "0", "cat?"), (2, "1", "asleep?"), (3, "2", "snoring?"), (4, "0", "mat?")]
    ]
    image = Image.new("RGB", (8, 8))
    assert score_item(image, rows, YesTo("cat?", "asleep?", "mat?")) == 0.75
    assert score_item(image, rows, YesTo("asleep?", "snoring?", "mat?")) == 0.25  # no cat, so none that snores
    assert score_item(image, rows, YesTo("cat?", "snoring?")) == 0.25
    result = draw(dpg, tmp_path / "out", Painter(), num_images=4)
    report = dpg_report(result, {"one": rows, "two": rows}, YesTo("cat?"), settings={})
    assert report["overall"].value == 0.25
    with pytest.raises(RequestError, match="no questions for two"):
        dpg_report(result, {"one": rows}, YesTo(), settings={})


def test_geneval_report_weighs_tasks_alike(geneval: PromptList, tmp_path: Path) -> None:
    class Always:
        name = weights_hash = resize_rule = protocol = "by hand"

        def detect(self, image: Image.Image, *, counting: bool) -> list[Any]:
            return []

        def colours(self, image: Image.Image, objects: Sequence[Any]) -> list[str | None]:
            return []

    report = geneval_report(draw(geneval, tmp_path, Painter()), Always(), settings={"steps": 3})
    assert report["overall"].value == 0
    assert [each.name for each in report.measurements] == ["overall", "single_object", "two_object", "counting"]
    assert len(report.details["pictures"]) == 6
    assert "expected" in report.details["pictures"][0]["reason"]


class MeanColour:
    name = weights_hash = resize_rule = "mean colour"

    def __init__(self, num_features: int = 3) -> None:
        self.num_features = num_features

    def __call__(self, images: Any) -> Any:
        return images.mean((2, 3)).repeat(1, self.num_features // 3)


def test_mjhq_measures_by_category(mjhq: PromptList, tmp_path: Path) -> None:
    result = draw(mjhq, tmp_path / "out", Painter(), num_images=1)
    rng = np.random.default_rng(0)
    for category in ("aaa", "bbb"):
        (tmp_path / "real" / category).mkdir(parents=True)
        for number in range(5):
            levels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(levels).save(tmp_path / "real" / category / f"{number}.jpg")
    against = Against(folder=tmp_path / "real", extractor=MeanColour(), num_halves=10)
    report = mjhq_report(result, settings={}, against=against)
    assert report.settings["pictures_per_prompt"] == 1
    names = ["FID", "FID of aaa", "FID of bbb"]
    assert [each.name for each in report.measurements] == [
        full for name in names for full in (name, f"{name} without bias")
    ]
    assert [report[name].num_samples for name in names] == [10, 5, 5]
    against = Against(folder=tmp_path / "real", extractor=MeanColour(num_features=6), num_halves=10)
    report = mjhq_report(result, settings={}, against=against)
    assert list(report.missing) == [f"{name} without bias" for name in names[1:]]  # five pictures, six features
    assert [each.name for each in report.measurements][2:] == ["KID of aaa", "FID of aaa", "KID of bbb", "FID of bbb"]
    with pytest.raises(RequestError, match="nothing to score"):
        mjhq_report(result, settings={})


def test_a_question_counts_only_with_all_that_it_depends_on() -> None:
    """Several parents of one question, and one parent of many."""
    texts = {"1": ("", "cat?"), "2": ("", "dog?"), "3": ("1, 2", "beside?"), "4": ("1", "red?"), "5": ("1", "big?")}
    rows = [
        {"proposition_id": number, "dependency": parents or "0", "question_natural_language": text}
        for number, (parents, text) in texts.items()
    ]
    image = Image.new("RGB", (4, 4))
    assert score_item(image, rows, YesTo("cat?", "beside?", "red?", "big?")) == 3 / 5
    assert score_item(image, rows, YesTo("dog?", "beside?", "red?", "big?")) == 1 / 5
    assert score_item(image, rows, YesTo("cat?", "dog?", "beside?")) == 3 / 5
