"""A model with a table of its words: what it is told, what is said of it, and what its pictures keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.editing.convert import convert
from sanakit.checkpoints.editing.describe import describe
from sanakit.checkpoints.sources.complete import words_of_parts
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.cli.info import vocabulary_of
from sanakit.common.errors import PictureError
from sanakit.pipelines.events import Notice
from sanakit.pipelines.picture_file import write_image
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.replay import replay
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture
def pipeline(tiny_bundle: ModelBundle, table: dict[str, Any]) -> TextToImagePipeline:
    return TextToImagePipeline(replace(tiny_bundle, words=table))


def notices(pipeline: TextToImagePipeline, prompt: str, **fields: Any) -> list[str]:
    events: list[Any] = []
    pipeline(prompt, num_inference_steps=1, on_event=events.append, **fields)
    return [event.message for event in events if isinstance(event, Notice)]


def test_a_prompt_in_german_gives_the_picture_of_the_english_one(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    german, english = (pipeline(prompt, seed=3).images[0] for prompt in ("ein roter Apfel", "a red apple"))
    assert torch.equal(german.latent, english.latent)
    assert (german.record.request.prompt, german.record.read_as) == ("ein roter Apfel", "a red apple")
    assert (english.record.read_as, english.record.needs) == (None, ())
    assert german.image is not None
    path = tmp_path / "apple.png"
    write_image(path, german.image, german.record, "png")
    assert replay(path, pipeline).identical
    without = TextToImagePipeline(replace(pipeline.bundle, words={}))
    again = replay(path, without)
    assert not again.identical
    assert any('was read as "a red apple" and is read as "ein roter Apfel"' in each for each in again.differences)
    older = german.record.model_copy(update={"needs": ("something new",)})
    with pytest.raises(PictureError, match="something new"):
        PictureRecord.from_json(older.to_json())


def test_readings_and_unknown_words_are_notices(pipeline: TextToImagePipeline, tiny_bundle: ModelBundle) -> None:
    assert notices(pipeline, "a red apple") == []
    assert notices(pipeline, "🍎🍎", num_images=2) == ['the prompt was read as "two apples"']
    assert notices(pipeline, "a violin") == ['tiny was not trained on "violin"; nearest: car, apple']
    plain = TextToImagePipeline(tiny_bundle)
    assert plain.reader is None
    assert notices(plain, "ein violin 🍎") == []


def test_the_words_stay_with_the_model(pipeline: TextToImagePipeline, table: dict[str, Any], tmp_path: Path) -> None:
    save_bundle(pipeline.bundle, tmp_path / "model")
    parts = find_parts(tmp_path / "model")
    assert words_of_parts(parts) == table
    convert(tmp_path / "model", tmp_path / "copy", "diffusers")
    assert describe(tmp_path / "copy").words == table
    save_bundle(replace(pipeline.bundle, words={}), tmp_path / "plain")
    assert words_of_parts(find_parts(tmp_path / "plain")) == {}
    shown = vocabulary_of({**table, **{key: {} for key in ("views", "styles", "places", "people")}})
    assert "cat (kitten, 🐱, 🐈)" in shown["objects"]
    assert shown["sizes"] == ["small (small, tiny)", "big (big, large)"]
    assert shown["languages"] == ["da", "de", "es", "fr", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh"]
