"""Pictures that control, as a user would type it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.controlnet import kind_of_controlnet
from sanakit.models.transformers.controlnet import ControlNet
from sanakit.pipelines.picture_file import read_record


@pytest.fixture
def model(tiny_model: Path, tiny_bundle: ModelBundle, tmp_path: Path) -> Path:
    """A model with a ControlNet of its own; another one is ``net``, and the drawing is ``drawing.png``."""
    for number, folder in enumerate(("model/controlnet", "net")):
        net = ControlNet.copied(tiny_bundle.transformer, 1)
        generator = torch.Generator().manual_seed(number)
        for layer in (net.before, *net.after):
            layer.weight.data.normal_(std=0.2, generator=generator)
        if number == 0:
            shutil.copytree(tiny_model, tmp_path / "model")
        metadata = {"sanakit_control": "drawing:3"}
        save_network(kind_of_controlnet(net.config), net, tmp_path / folder, metadata=metadata)
    picture = Image.new("RGB", (80, 60), "white")
    ImageDraw.Draw(picture).ellipse((20, 10, 60, 50), outline="black")
    picture.save(tmp_path / "drawing.png")
    return tmp_path / "model"


def test_a_drawing_controls_and_is_found_again(run: Any, model: Path) -> None:
    words = ("--model", model, "--device", "cpu", "--steps", "2", "--control", "drawing.png")
    assert run("generate", "a cat", *words, "--output", "one.png").code == 0
    (use,) = read_record("one.png").request.controls
    assert (use.type, use.scale, use.image.name) == ("drawing:3", 1.0, "drawing.png")
    assert run("replay", "one.png", "--model", model).out == "identical\n"
    more = ("--control", "drawing.png", "--control-type", "edges", "--control-type", "given", "--control-model", "net")
    limits = ("--control-scale", "0.5", "--control-start", "0", "--control-end", "0.5", "--control-end", "1")
    assert run("generate", "a cat", *words, *more, *limits, "--output", "two.png").code == 0
    first, second = read_record("two.png").request.controls
    assert [(use.type, use.scale, use.end) for use in (first, second)] == [("edges", 0.5, 0.5), ("given", 0.5, 1.0)]
    assert run("replay", "two.png", "--model", model).out == "identical\n"
    Path("net").rename("away")
    Path("drawing.png").rename("mine.png")
    assert run("replay", "two.png", "--model", model).code == 1
    away = ("--control", "mine.png", "--control-model", "away")
    assert run("replay", "two.png", "--model", model, *away).out == "identical\n"


def test_annotations_are_shown(run: Any, model: Path) -> None:
    outcome = run("annotate", "drawing.png", "--type", "drawing:8")
    assert (outcome.code, outcome.out) == (0, "drawing-drawing-8.png\n")
    assert Image.open("drawing-drawing-8.png").size == (80, 60)
    assert run("annotate", "drawing.png", "--size", "64x64", "--output", "e.png").code == 0
    assert set(np.unique(np.asarray(Image.open("e.png")))) == {0, 255}


def test_overlap_is_measured(run: Any, model: Path) -> None:
    words = ("--model", model, "--device", "cpu", "--steps", "1", "--bank", "tiny", "--num", "1", "--json")
    outcome = run("eval", "control", *words)
    assert outcome.code == 0
    found = {each["name"]: each["value"] for each in json.loads(outcome.out)["measurements"]}
    assert found.keys() == {"controlled", "outlined", "base", "read"}
    assert all(0 <= value <= 1 for value in found.values())


def test_what_does_not_fit_is_one_sentence(run: Any, model: Path, tiny_model: Path) -> None:
    picture = ("--control", "drawing.png")
    for words, sentence in (
        (("--control-scale", "1"), "--control-scale says how a picture controls; give that as --control"),
        (("--control", "nowhere.png"), "nowhere.png does not exist"),
        ((*picture, "--control-type", "magic"), "it is one of edges"),
        ((*picture, "--control-scale", "1", "--control-scale", "1"), "is given 2 times for 1 pictures"),
        ((*picture, "--control-scale", "11"), "controls.scale is not usable"),
        ((*picture, "--control-model", "nowhere"), "nowhere"),
        ((*picture, "--control-model", tiny_model), "holds no ControlNet"),
        ((*picture, "--output", "drawing.png"), "would replace a picture that controls it"),
        (picture, "the model has no ControlNet of its own"),
    ):
        outcome = run("generate", "a cat", *words, "--model", tiny_model, "--device", "cpu")
        assert (outcome.code > 0, outcome.err.count("\n"), sentence in outcome.err) == (True, 1, True), outcome.err
    for words in (("none.png",), ("drawing.png", "--type", "x"), ("drawing.png", "--output", "drawing.png")):
        outcome = run("annotate", *words)
        assert (outcome.code > 0, outcome.err.count("\n")) == (True, 1)
