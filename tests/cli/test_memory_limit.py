"""A limit of memory: what gives way, in which order, and what is said where nothing helps."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sanakit.checkpoints.opening import OpenedModel, open_model
from sanakit.common.errors import RequestError
from sanakit.common.free_memory import process_memory
from sanakit.pipelines.check import load_for, memory_of_pictures, plan_for_model
from sanakit.pipelines.decoding.budget import MARGIN, within
from sanakit.pipelines.decoding.memory import OWN_BYTES, PictureMemory, free_within
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline

REQUEST = GenerationRequest(prompt="a cat", num_inference_steps=1)


def limit_of(total: int) -> int:
    return round(MARGIN * total)


@pytest.fixture
def model(tiny_model: Path) -> OpenedModel:
    return open_model(tiny_model)


def need(model: OpenedModel) -> PictureMemory:
    return memory_of_pictures(model, plan_for_model(model, [REQUEST])[0])


def test_a_limit_that_holds_changes_nothing(model: OpenedModel) -> None:
    assert within(limit_of(need(model).total), model, need) is model


def test_first_networks_take_turns(model: OpenedModel, caplog: pytest.LogCaptureFixture) -> None:
    whole = need(model)
    with caplog.at_level(logging.WARNING):
        narrow = within(limit_of(whole.total) - 10, model, need)
    assert narrow == replace(model, in_turns=True)
    assert "one network in memory at a time" in caplog.text
    assert need(narrow).total == OWN_BYTES + whole.weights["autoencoder"] + whole.decoding  # which is the largest


def test_then_the_text_encoder_gives_way(model: OpenedModel, caplog: pytest.LogCaptureFixture) -> None:
    def toy(way: OpenedModel) -> PictureMemory:
        text = 10_000 * way.dtypes["text_encoder"].itemsize
        sizes = {"text_encoder": text, "transformer": 1_000_000 if way.schemes else 9_000}
        return PictureMemory(weights=sizes, denoising=0, decoding=0, in_turns=way.in_turns)

    whole = need(model)
    with caplog.at_level(logging.WARNING):
        narrow = within(limit_of(OWN_BYTES + 30_000), model, toy)
    assert narrow.dtypes["text_encoder"] == torch.bfloat16
    assert narrow.dtypes["transformer"] == model.dtypes["transformer"]
    assert not narrow.schemes
    assert "text encoder in bfloat16" in caplog.text
    assert need(narrow).weights["text_encoder"] == whole.weights["text_encoder"] // 2


def test_then_weights_of_fewer_bits_the_widest_that_fit(model: OpenedModel) -> None:
    size = {"text_encoder": 12, "transformer": 4, "autoencoder": 2}  # bytes a parameter, as they are

    def toy(way: OpenedModel) -> PictureMemory:
        narrow = {"int8-weight": 4, "bf16": 2, "nf4": 8}  # times smaller
        factors = {name: narrow[scheme.name] for name, scheme in way.schemes.items()}
        weights = {name: 100 * size[name] // factors.get(name, 1) for name in size}
        return PictureMemory(weights=weights, denoising=0, decoding=0)

    own = toy(model).total - 1800
    assert within(limit_of(own + 1800), model, toy) is model
    chosen = {limit: within(limit_of(own + limit), model, toy).schemes for limit in (1800, 1500, 900, 550, 500, 260)}
    names = [{name: scheme.name for name, scheme in schemes.items()} for schemes in chosen.values()]
    text, wide = {"text_encoder": "int8-weight"}, {"transformer": "bf16", "autoencoder": "bf16"}
    assert names == [
        {}, wide, {**text, **wide},
        {**text, "transformer": "int8-weight", "autoencoder": "bf16"},
        {**text, "transformer": "int8-weight", "autoencoder": "bf16"},
        {"text_encoder": "nf4", "transformer": "nf4", "autoencoder": "int8-weight"},
    ]  # fmt: skip
    with pytest.raises(RequestError, match=r"is not enough for .* which takes 575\.0 MB at the least"):
        within(limit_of(own + 100), model, toy)


def test_what_was_asked_for_is_never_changed(tiny_model: Path) -> None:
    asked = open_model(tiny_model, quantize="transformer=bf16")
    assert within(limit_of(need(asked).total), asked, need) is asked
    with pytest.raises(RequestError, match="is not enough"):
        within(limit_of(need(replace(asked, in_turns=True)).total) - 10, asked, need)


@pytest.mark.parametrize("quantize", [None, "transformer=int8,text_encoder=nf4"])
def test_networks_that_take_turns_make_the_same_pictures(tiny_model: Path, quantize: str | None) -> None:
    opened = open_model(tiny_model, quantize=quantize)
    expected = TextToImagePipeline(opened.load())(["a cat", "w5"], num_inference_steps=2, seed=3)
    pipeline = TextToImagePipeline(replace(opened, in_turns=True).load())
    for _ in range(2):  # it begins with what the last picture left
        here: list[list[str]] = []

        def look(event: object, here: list[list[str]] = here) -> None:
            networks = pipeline.bundle.networks.items()
            here.append([name for name, each in networks if not next(each.parameters()).is_meta])

        found = pipeline(["a cat", "w5"], num_inference_steps=2, seed=3, on_event=look)
        assert [each.record.image for each in found.images] == [each.record.image for each in expected.images]
        assert found.images[0].record.model == expected.images[0].record.model
        assert here[-6:] == [["transformer"], ["transformer"], ["autoencoder"]] * 2


def test_networks_are_read_no_oftener_than_their_turns_need(tiny_model: Path) -> None:
    """Pictures from pictures: all are encoded, then of each come its steps and its decoding."""
    opened = open_model(tiny_model)
    bundle, read = replace(opened, in_turns=True).load(), list[str]()

    def counted(name: str) -> Any:
        read.append(name)
        return bundle.readers[name]()

    pipeline = TextToImagePipeline(replace(bundle, readers={name: partial(counted, name) for name in bundle.readers}))
    given = [np.full((64, 64, 3), level, np.uint8) for level in (0, 100, 200)]
    asked = [REQUEST.model_validate({**dict(REQUEST), "image": each}) for each in given]
    expected = TextToImagePipeline(opened.load())(asked)
    assert [each.record.image for each in pipeline(asked).images] == [each.record.image for each in expected.images]
    assert read == [*["autoencoder", "transformer"] * 3, "autoencoder"]


def test_a_pipeline_within_a_limit_knows_what_is_left(model: OpenedModel) -> None:
    own = process_memory()
    if own is None:
        pytest.skip("this system does not tell")
    assert 0 < own <= (process_memory(peak=True) or 0)
    limit = own + 700_000_000
    pipeline = load_for([REQUEST], model, memory=limit)
    left = pipeline.free_memory(torch.device("cpu"))
    assert left is not None
    assert 0 < left < limit
    assert pipeline([REQUEST]).images[0].image is not None
    assert free_within(1, torch.device("cpu")) == 0
    unlimited = partial(free_within, None)(torch.device("cpu"))
    assert unlimited is None or unlimited > 0


def test_command_line(run, tiny_model: Path, tmp_path: Path) -> None:
    outcome = run("generate", "a cat", "--model", tiny_model, "--memory", "8GB", "--output", tmp_path / "a.png")
    assert outcome.code == 0
    assert "of memory at the peak" in outcome.err
    outcome = run("generate", "a cat", "--model", tiny_model, "--memory", "1kB")
    assert outcome.code == 2
    assert "memory=1.0 kB is not enough" in outcome.err
    assert run("generate", "a cat", "--memory", "much").code == 2
