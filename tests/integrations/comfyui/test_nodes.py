"""Graphs of nodes against the pipeline that they are thin over."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.integrations.comfyui.stub_host import Host, Interrupted

import sanakit
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.controlnet import kind_of_controlnet
from sanakit.common.errors import RequestError
from sanakit.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, prepare_folders
from sanakit.models.transformers.controlnet import ControlNet
from sanakit.pipelines.editing.edit import Edit, Mask
from sanakit.pipelines.picture_file import read_record
from sanakit.scoring.annotators.annotate import annotate

Graph = dict[str, dict[str, Any]]


def graph_of(model: str, *, prompt: str = "two red apples", **sample: Any) -> Graph:
    wishes: dict[str, Any] = {
        "seed": 7, "num_images": 1, "width": 0, "height": 0, "steps": 0, "guidance": -1.0, "solver": "the model's own",
        "interval_low": 0.0, "interval_high": 1.0, **sample,
    }  # fmt: skip
    return {
        "1": {"class_type": "SanakitLoadModel", "inputs": {"model": model}},
        "2": {"class_type": "SanakitEncodePrompt", "inputs": {"model": ["1", 0], "prompt": prompt}},
        "3": {"class_type": "SanakitSample", "inputs": {"model": ["1", 0], "prompt": ["2", 0], **wishes}},
        "4": {"class_type": "SanakitDecode", "inputs": {"latent": ["3", 0]}},
        "5": {
            "class_type": "SanakitSave",
            "inputs": {"images": ["4", 0], "records": ["4", 1], "filename_prefix": "pictures/fruit"},
        },
    }


def written(host: Host, made: dict[str, Any]) -> list[Path]:
    return [
        host.folder / "output" / each["subfolder"] / each["filename"]
        for outputs in made.values()
        if isinstance(outputs, dict)
        for each in outputs["ui"]["images"]
    ]


def test_names_of_nodes_stay_as_graphs_have_them() -> None:
    assert set(NODE_CLASS_MAPPINGS) == set(NODE_DISPLAY_NAME_MAPPINGS) == {
        "SanakitLoadModel", "SanakitAdapter", "SanakitEncodePrompt", "SanakitImageToImage", "SanakitInpaint",
        "SanakitLoadControlNet", "SanakitControl", "SanakitAnnotate", "SanakitSettings",
        "SanakitSample", "SanakitLoadClip", "SanakitSampleClip", "SanakitDecode", "SanakitSave", "SanakitSaveClip",
    }  # fmt: skip


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_node_keeps_the_contract(name: str, host: Host) -> None:
    prepare_folders()
    node = NODE_CLASS_MAPPINGS[name]
    inputs = node.INPUT_TYPES()
    assert set(inputs) <= {"required", "optional", "hidden"}
    assert set(inputs.get("hidden", {}).values()) <= {"UNIQUE_ID", "PROMPT", "EXTRA_PNGINFO"}
    visible = inputs["required"] | inputs.get("optional", {})
    for kind, facts in visible.values():
        assert facts["tooltip"].endswith((".", "..."))
        if isinstance(kind, list):
            assert facts["default"] in kind
        if "min" in facts:
            assert facts["min"] <= facts["default"] <= facts["max"]
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    assert node.__doc__
    optional = inputs.get("optional", {}).keys() | inputs.get("hidden", {}).keys()
    function = inspect.signature(getattr(node, node.FUNCTION))
    given = dict.fromkeys([*inputs["required"], *optional])
    function.bind(None, **given)
    function.bind(None, **dict.fromkeys(inputs["required"]))
    json.dumps(inputs)


def test_a_graph_makes_the_picture_of_the_pipeline(host: Host, tiny: str) -> None:
    prepare_folders()
    graph = graph_of(
        tiny, num_images=2, steps=2, guidance=3.0, interval_low=0.2, interval_high=0.9, solver="flow-euler"
    )
    files = written(host, host.run(graph))
    pipeline = sanakit.load(host.folder / "models" / tiny)
    fields: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 3.0, "solver": "flow-euler"}
    expected = pipeline("two red apples", seed=7, num_images=2, guidance_interval=(0.2, 0.9), **fields).images
    assert [file.name for file in files] == ["fruit_00001_.png", "fruit_00002_.png"]
    for file, own in zip(files, expected, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), np.asarray(own.picture))
        assert read_record(file) == own.record
        assert json.loads(Image.open(file).info["prompt"]) == graph
        assert json.loads(Image.open(file).info["workflow"]) == {"nodes": []}
    assert host.progress == [(1, 4), (2, 4), (3, 4), (4, 4), (1, 2), (2, 2)]
    assert host.brought[:3] == ["Decoder", "Decoder", "LinearDiT"]
    assert host.brought[-1] == "DCAutoencoder"


def test_a_graph_edits_pictures_one_by_one(host: Host, tiny: str) -> None:
    prepare_folders()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    hole = np.zeros((96, 128), np.uint8)
    hole[32:64, 32:64] = 255
    graph = graph_of(tiny, steps=2, pictures=["6", 0])
    graph["6"] = {
        "class_type": "SanakitInpaint",
        "inputs": {"image": ["7", 0], "strength": 0.0, "left": 0, "top": 0, "right": 32, "bottom": 0, "mask": ["7", 1]},
    }
    images, masks = torch.from_numpy(pixels.astype(np.float32) / 255), torch.from_numpy(hole / np.float32(255))[None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NODE_CLASS_MAPPINGS, "Given", given(images, masks))
        files = written(host, host.run(graph | {"7": {"class_type": "Given", "inputs": {}}}))
    pipeline = sanakit.load(host.folder / "models" / tiny)
    edit = Edit(mask=Mask.of(hole), expand={"right": 32})
    for index, file in enumerate(files):
        own = pipeline("two red apples", seed=7 + index, num_inference_steps=2, image=pixels[index], edit=edit).images[
            0
        ]
        assert np.array_equal(np.asarray(Image.open(file)), np.asarray(own.picture))
        assert read_record(file) == own.record


def test_pictures_control_a_graph(host: Host, tiny: str, tiny_bundle: ModelBundle) -> None:
    prepare_folders()
    net = ControlNet.copied(tiny_bundle.transformer, 1)
    for layer in (net.before, *net.after):
        layer.weight.data.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    folder = host.folder / "models" / "controlnet" / "net"
    save_network(kind_of_controlnet(net.config), net, folder, metadata={"sanakit_control": "drawing"})
    drawing = np.zeros((64, 64, 3), np.uint8)
    drawing[16:48, 16:48] = 255
    graph = graph_of(tiny, steps=2, controls=["8", 0])
    graph["6"] = {"class_type": "SanakitLoadControlNet", "inputs": {"controlnet": "controlnet/net"}}
    control = {"image": ["9", 0], "thickness": -1, "start": 0.0}
    trained = {"type": "what it was trained on", "scale": 1.0, "end": 1.0, "controlnet": ["6", 0]}
    edges = {"type": "scribble", "thickness": 6, "scale": 0.5, "end": 0.5, "controls": ["7", 0], "controlnet": ["6", 0]}
    graph["7"] = {"class_type": "SanakitControl", "inputs": control | trained}
    graph["8"] = {"class_type": "SanakitControl", "inputs": control | edges}
    graph["9"] = {"class_type": "Given", "inputs": {}}
    image = torch.from_numpy(drawing[None].astype(np.float32) / 255)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NODE_CLASS_MAPPINGS, "Given", given(image))
        (file,) = written(host, host.run(graph))
    controls = [
        {"image": drawing, "model": folder},
        {"image": drawing, "model": folder, "type": "scribble:6", "scale": 0.5, "end": 0.5},
    ]
    pipeline = sanakit.load(host.folder / "models" / tiny)
    own = pipeline("two red apples", seed=7, num_inference_steps=2, controls=controls).images[0]
    assert np.array_equal(np.asarray(Image.open(file)), np.asarray(own.picture))
    assert read_record(file) == own.record
    (seen,) = NODE_CLASS_MAPPINGS["SanakitAnnotate"]().run(image, "scribble", 6)  # type: ignore[attr-defined]
    assert np.array_equal((seen[0] * 255).numpy().astype(np.uint8), annotate(drawing, "scribble:6"))
    with pytest.raises(RequestError, match="2 pictures come as one"):
        NODE_CLASS_MAPPINGS["SanakitControl"]().run(image.repeat(2, 1, 1, 1), "edges", -1)  # type: ignore[attr-defined]


def given(*outputs: object) -> Any:
    """A node that gives these."""
    node = type("Given", (), {"FUNCTION": "run", "INPUT_TYPES": classmethod(lambda cls: {"required": {}})})
    node.run = lambda self: outputs  # type: ignore[attr-defined]
    return node


def test_masks_that_do_not_fit_are_told() -> None:
    images, masks = torch.zeros(3, 32, 32, 3), torch.ones(2, 32, 32)
    sides = dict.fromkeys(("left", "top", "right", "bottom"), 0)
    inpaint: Any = NODE_CLASS_MAPPINGS["SanakitInpaint"]()
    with pytest.raises(RequestError, match="2 masks do not fit 3 pictures"):
        inpaint.run(images, 0.5, mask=masks, **sides)
    with pytest.raises(RequestError, match="nothing white"):
        inpaint.run(images, 0.5, mask=torch.zeros(64, 64), **sides)
    with pytest.raises(RequestError, match="needs a mask"):
        inpaint.run(images, 0.5, **sides)


def test_a_picture_that_was_changed_gets_no_record(host: Host, tiny: str) -> None:
    prepare_folders()
    graph = graph_of(tiny, steps=1)
    made = host.run(graph)
    images, records = made["4"]
    save: Any = NODE_CLASS_MAPPINGS["SanakitSave"]()
    host.args.disable_metadata = True
    found = save.run(torch.cat([1 - images, images]), "x", records, prompt=graph)
    first, second = written(host, {"5": found})
    assert "sanakit" not in Image.open(first).info
    assert read_record(second) == records[0]
    assert "prompt" not in Image.open(second).info


def test_a_run_ends_where_comfyui_says_so(host: Host, tiny: str) -> None:
    prepare_folders()
    host.stop_after = 2
    with pytest.raises(Interrupted):
        host.run(graph_of(tiny, steps=5))
    assert host.progress == [(1, 5), (2, 5)]


def test_notices_stand_on_the_node(host: Host, tiny: str) -> None:
    prepare_folders()
    host.run(graph_of(tiny, prompt="  ", steps=1))
    assert [(node, "is empty" in text) for node, text in host.texts] == [("3", True)]


def test_models_and_settings_have_their_names(host: Host, tiny: str) -> None:
    prepare_folders()
    own = host.folder / "models" / "sanakit"
    (own / "deep").mkdir(parents=True)
    for name in ("deep/one.pth", "two.safetensors", "notes.txt"):
        (own / name).write_bytes(b"")
    (own / "styles.yaml").write_text("mine: '{prompt}, in chalk'\n")
    names = NODE_CLASS_MAPPINGS["SanakitLoadModel"].INPUT_TYPES()["required"]["model"][0]
    assert names == ["starter", "diffusers/tiny", "sanakit/deep/one.pth", "sanakit/two.safetensors"]
    assert "mine" in NODE_CLASS_MAPPINGS["SanakitEncodePrompt"].INPUT_TYPES()["optional"]["style"][0]
    load: Any = NODE_CLASS_MAPPINGS["SanakitLoadModel"]
    before = load.IS_CHANGED("sanakit/two.safetensors")
    (own / "two.safetensors").write_bytes(b"more")
    assert before != load.IS_CHANGED("sanakit/two.safetensors")
    settings: Any = NODE_CLASS_MAPPINGS["SanakitSettings"]()
    zero: dict[str, Any] = dict.fromkeys(("pag_scale", "reuse", "flow_shift", "start_angle"), 0.0)
    assert settings.run("", "1", True, seamless=False, **zero) == ({"upscale": 1, "use_resolution_binning": True},)
    assert settings.run("1.5, 1", "2", True, seamless=False, **zero)[0]["angles"] == (1.5, 1.0)
    with pytest.raises(RequestError, match="angles 'x' are not usable"):
        settings.run("x", "1", True, seamless=False, **zero)
