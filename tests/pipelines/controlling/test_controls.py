"""Pictures that control: chosen picture by picture, in the record, found again by replay."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.controlnet import kind_of_controlnet
from sanakit.common.errors import PictureError, RequestError
from sanakit.models.transformers.controlnet import ControlNet, Topology
from sanakit.pipelines.controlling.use import ControlUse
from sanakit.pipelines.events import Notice
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.replay import replay
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture
def pipeline(tiny_bundle: ModelBundle) -> TextToImagePipeline:
    """Of two blocks more, beside which a ControlNet has room."""
    torch.manual_seed(3)
    config = replace(tiny_bundle.transformer.config, num_layers=4)
    transformer = type(tiny_bundle.transformer)(config).eval().requires_grad_(False)
    return TextToImagePipeline(replace(tiny_bundle, transformer=transformer))


def controlnet(folder: Path, pipeline: TextToImagePipeline, *, seed: int = 1, topology: Topology = "upstream") -> Path:
    net = ControlNet.copied(pipeline.bundle.transformer, 2, topology)
    generator = torch.Generator().manual_seed(seed)
    for layer in (net.before, *net.after):
        layer.weight.data.normal_(std=0.2, generator=generator)
    folder.mkdir(parents=True, exist_ok=True)
    save_network(kind_of_controlnet(net.config), net, folder / f"net{seed}")
    return folder / f"net{seed}"


def drawing(x: int = 20) -> Image.Image:
    picture = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(picture).ellipse((x, 30, x + 40, 70), outline="black", width=3)
    return picture


def made(pipeline: TextToImagePipeline, *controls: Any, **fields: Any) -> np.ndarray:
    return np.asarray(pipeline("a cat", num_inference_steps=2, controls=controls, **fields).images[0].picture)


def test_pictures_of_one_call_have_their_own_controls(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    """Each the same to the bit as alone, and scale 0 as without."""
    one, two = controlnet(tmp_path, pipeline), controlnet(tmp_path, pipeline, seed=2, topology="diffusers")
    first = {"image": drawing(), "type": "drawing", "model": one}
    second = {"image": drawing(40), "type": "edges", "model": two, "scale": 0.5}
    mixes: list[list[dict[str, Any]]] = [[], [first], [second], [first, second], [{**first, "scale": 0}]]
    mixes += [[{**first, "image": drawing(50)}], [{**first, "end": 0.5}]]
    size = {"height": 128, "width": 128}
    alone = [made(pipeline, *mix, **size) for mix in mixes]
    requests = [GenerationRequest(prompt="a cat", num_inference_steps=2, controls=mix, **size) for mix in mixes]
    together = [np.asarray(image.picture) for image in pipeline(requests).images]
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(alone[0], alone[4])
    assert len({a.tobytes() for a in alone}) == len(mixes) - 1
    fixed = TextToImagePipeline(pipeline.bundle, deterministic=True)
    assert np.array_equal(made(fixed, first, **size), np.asarray(fixed(requests).images[1].picture))


def test_with_what_else_a_picture_can_have(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    use = {"image": drawing(), "type": "scribble:4", "model": controlnet(tmp_path, pipeline)}
    photo = Image.effect_noise((128, 128), 90).convert("RGB")
    mask = Image.new("L", (128, 128))
    mask.paste(255, (64, 0, 128, 128))
    ways: list[dict[str, Any]] = [
        {"image": photo, "strength": 0.9},
        {"image": photo, "edit": {"mask": mask}},
        {"image": photo, "edit": {"factor": 3}},
        {"seamless": True},
        {"guidance_scale": 1.0},
        {"pag_scale": 1.0},
        {"reuse": 0.1},
    ]
    for fields in ways:
        assert not np.array_equal(made(pipeline, use, **fields), made(pipeline, {**use, "scale": 0.0}, **fields))


def test_a_distilled_model_is_controlled_too(sprint: TextToImagePipeline, tmp_path: Path) -> None:
    net = ControlNet.copied(sprint.bundle.transformer, 1)
    torch.nn.init.normal_(net.after[0].weight, std=0.2)
    save_network(kind_of_controlnet(net.config), net, tmp_path / "net")
    use = {"image": drawing(), "type": "drawing", "model": tmp_path / "net"}
    assert not np.array_equal(made(sprint, use), made(sprint, {**use, "scale": 0}))


def test_a_picture_has_the_shape_of_what_controls_it(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    wide = drawing().resize((192, 96))
    picture = made(pipeline, {"image": wide, "model": controlnet(tmp_path, pipeline)})
    assert picture.shape[1] > picture.shape[0]


def test_a_replay_finds_them_or_says_which_is_missing(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    net, place = controlnet(tmp_path / "elsewhere", pipeline), tmp_path / "pictures"
    place.mkdir()
    drawing().save(place / "drawing.png")
    use = ControlUse(image=place / "drawing.png", type="drawing", model=net, scale=0.8, end=0.9)
    image = pipeline("a cat", num_inference_steps=2, controls=[use]).images[0]
    fact = image.record.model_dump(mode="json")["request"]["controls"][0]
    assert (fact["image"]["name"], fact["model"]["name"], fact["type"]) == ("drawing.png", "net1", "drawing")
    assert image.record.needs == ("pictures that control",)
    assert "ControlNet 0" in image.record.to_a1111()
    picture = image.save(place / "cat.png")
    assert replay(picture, pipeline, control_models=[net]).identical
    with pytest.raises(RequestError, match="the ControlNet net1"):
        replay(picture, pipeline)
    net.rename(place / "net1")
    assert replay(picture, pipeline).identical
    other = controlnet(tmp_path / "elsewhere", pipeline, seed=2)
    with pytest.raises(PictureError, match="was not made with the ControlNet net2"):
        replay(picture, pipeline, control_models=[other])
    with pytest.raises(PictureError, match="was not made with"):
        replay(picture, pipeline, controls=[drawing(50)])
    (place / "drawing.png").unlink()
    with pytest.raises(PictureError, match=r"drawing\.png .*name it with --control "):
        replay(picture, pipeline)
    assert replay(picture, pipeline, controls=[drawing()]).identical


def test_a_record_opens_no_file(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    use = {"image": drawing(), "model": controlnet(tmp_path, pipeline)}
    text = pipeline("a cat", num_inference_steps=1, controls=[use]).images[0].record.to_json()
    for name in ("image", "model"):
        content = json.loads(text)
        content["request"]["controls"][0][name] = str(tmp_path)
        with pytest.raises(PictureError, match=r"request\.controls"):
            PictureRecord.from_json(json.dumps(content))


def test_what_no_request_can_ask_for(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    net = controlnet(tmp_path, pipeline)
    wrong: list[tuple[Any, str]] = [
        ({"image": drawing(), "type": "magic"}, "it is one of edges, scribble"),
        ({"image": drawing(), "type": "scribble:99"}, "a thickness from 0 to 24"),
        ({"image": drawing(), "type": "blur:2"}, "scribble, hed, drawing have a thickness"),
        ({"image": drawing(), "scale": -1}, "scale is not usable"),
        ({"image": drawing(), "start": 0.5, "end": 0.5}, "cannot act from 0.5 to 0.5"),
        ({"image": drawing(), "strength": 1}, "strength is not usable"),
        ({"type": "edges"}, "image is not usable"),
        ("none.png", "give pictures that control in a list"),
        (7, "give pictures that control in a list"),
    ]
    for controls, sentence in wrong:
        with pytest.raises(RequestError, match=sentence):
            GenerationRequest(prompt="", controls=controls)
    with pytest.raises(RequestError, match="up to 4 pictures"):
        GenerationRequest(prompt="", controls=[{"image": drawing(), "model": net}] * 5)
    with pytest.raises(RequestError, match="has no ControlNet of its own"):
        made(pipeline, drawing())
    tiny = replace(pipeline.bundle, transformer=deepcopy(pipeline.bundle.transformer))
    tiny.transformer.config = replace(tiny.transformer.config, num_layers=2)
    with pytest.raises(RequestError, match="needs a transformer of more"):
        made(TextToImagePipeline(tiny), {"image": drawing(), "model": net})


def test_a_network_says_what_it_was_trained_on(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    net = ControlNet.copied(pipeline.bundle.transformer, 2)
    save_network(kind_of_controlnet(net.config), net, tmp_path / "net", metadata={"sanakit_control": "scribble:3"})
    use, told = {"image": drawing(), "model": tmp_path / "net"}, []
    image = pipeline("a cat", num_inference_steps=1, controls=[use], on_event=told.append).images[0]
    assert image.record.request.controls[0].type == "scribble:3"
    pipeline("a cat", num_inference_steps=1, controls=[{**use, "type": "edges"}], on_event=told.append)
    notes = [event.message for event in told if isinstance(event, Notice)]
    assert any(
        "the ControlNet net was trained on pictures of type scribble, and is shown edges" in note for note in notes
    )
