"""The graphs that ship fit the nodes, and their pictures hold them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.integrations.comfyui.stub_host import Host

import sanakit
from sanakit.integrations.comfyui import NODE_CLASS_MAPPINGS, prepare_folders

PACK = Path(__file__).parents[3] / "integrations" / "comfyui"
EXAMPLES = sorted(PACK.glob("example_workflows/*.json"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_fits_the_nodes(file: Path, host: Host) -> None:
    prepare_folders()
    for name in ("models/loras/zorbl.safetensors", "models/controlnet/drawn/config.json", "input/clip.mp4"):
        (host.folder / name).parent.mkdir(exist_ok=True)
        (host.folder / name).write_bytes(b"")
    graph = json.loads(file.read_text())
    picture = Image.open(file.with_suffix(".png"))
    assert json.loads(picture.info["workflow"]) == graph
    nodes = {node["id"]: node for node in graph["nodes"]}
    for node in (node for node in nodes.values() if node["type"] in NODE_CLASS_MAPPINGS):
        inputs = NODE_CLASS_MAPPINGS[node["type"]].INPUT_TYPES()
        assert list(node["widgets_values"]) == values_of(inputs, node["widgets_values"]), node["type"]
    for _, source, slot, target, place, kind in graph["links"]:
        assert nodes[source]["outputs"][slot]["type"] == nodes[target]["inputs"][place]["type"] == kind


def values_of(inputs: Mapping[str, Mapping[str, Any]], given: list[Any]) -> list[Any]:
    """The same values where each is one that its widget takes, else what is wrong instead."""
    values, checked = iter(given), list[Any]()
    for name, (kind, facts) in (inputs["required"] | inputs.get("optional", {})).items():
        if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN"):
            value = next(values, None)
            fits = (
                value in kind if isinstance(kind, list) else facts.get("min", value) <= value <= facts.get("max", value)
            )
            checked.append(value if fits else f"{name}={value!r} is not taken")
            checked += [next(values)] if facts.get("control_after_generate") else []
    return [*checked, *(["one more"] if next(values, None) is not None else [])]


def test_the_pack_is_of_this_version() -> None:
    project = tomllib.loads((PACK / "pyproject.toml").read_text())["project"]
    assert sanakit.__version__.startswith(project["version"])
    assert (PACK / "requirements.txt").read_text().split() == project["dependencies"]
