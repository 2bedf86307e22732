"""Texts of pictures: the prompt inside, or the captions beside; means with their samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.evaluation.reports.captioned import clip_score_report, open_captioned
from sanakit.evaluation.reports.report import report_table
from sanakit.pipelines.picture_file import write_image
from sanakit.pipelines.record import ModelReference, PictureRecord
from sanakit.pipelines.request import GenerationRequest


class Lengths:
    name = weights_hash = resize_rule = "number of letters"

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in texts]


def write(path: Path, prompt: str | None) -> None:
    model = ModelReference(name="x", source="x", hash="0", dtypes={})
    record = PictureRecord(request=GenerationRequest(prompt=prompt or ""), model=model, device="cpu", versions={})
    write_image(path, Image.new("RGB", (32, 32)), None if prompt is None else record)


def test_prompts_inside_pictures(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"{number:02}.png", "x" * (number + 1))
    report = clip_score_report(open_captioned(tmp_path), Lengths())
    assert (report["score"].value, report["score"].num_samples) == (10.5, 20)
    assert report["score"].low < 10.5 < report["score"].high
    assert [line["score"] for line in report.details["pictures"]] == [float(number + 1) for number in range(20)]
    assert open_captioned(tmp_path, limit=3).captions == (("x",), ("xx",), ("xxx",))


def test_captions_beside_pictures(tmp_path: Path) -> None:
    for number, text in enumerate(["a cat", "two dogs"]):
        write(tmp_path / f"{number}.png", None)
        (tmp_path / f"{number}.txt").write_text(text)
    assert open_captioned(tmp_path).captions == (("a cat",), ("two dogs",))
    (tmp_path / "0.txt").unlink()
    (tmp_path / "1.txt").unlink()
    with pytest.raises(RequestError, match=r"no text|no picture"):
        open_captioned(tmp_path)


def test_pictures_that_are_left_out_are_counted_and_named(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.png", None)
        (tmp_path / f"{number}.txt").write_text("a cat")
    (tmp_path / "2.png").write_bytes(b"no picture")
    report = clip_score_report(open_captioned(tmp_path), Lengths())
    facts = report.inputs["pictures"]
    assert (facts["pictures"], facts["left_out"]) == (3, 1)
    assert facts["first_left_out"].startswith("2")
    assert "left_out 1" in report_table(report)
