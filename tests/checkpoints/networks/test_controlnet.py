"""ControlNets in files: alone, beside their transformer in a ``.pth``, in a model folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.editing.convert import convert
from sanakit.checkpoints.editing.describe import describe
from sanakit.checkpoints.files.writer import write_torch
from sanakit.checkpoints.identity.hashing import combined_hash, hash_tensors
from sanakit.checkpoints.networks import linear_dit
from sanakit.checkpoints.networks.controlnet import UPSTREAM, kind_of_controlnet
from sanakit.checkpoints.networks.linear_dit import UPSTREAM_LINEAR_DIT
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.opening import open_model
from sanakit.checkpoints.sources.complete import find_controlnet
from sanakit.checkpoints.sources.content_hashes import hash_parts
from sanakit.common.errors import CheckpointError
from sanakit.models.transformers.controlnet import ControlNet, Topology


def network_of(bundle: ModelBundle, topology: Topology) -> ControlNet:
    net = ControlNet.copied(bundle.transformer, 1, topology)
    torch.nn.init.normal_(net.after[0].weight)
    return net


def is_same(found: ControlNet, net: ControlNet) -> bool:
    theirs = net.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in found.state_dict().items())


def read(source: Path) -> ControlNet:
    return load_network(find_controlnet(source), dtype=torch.float32)


@pytest.mark.parametrize("topology", ["upstream", "diffusers"])
def test_folder_and_file(tiny_bundle: ModelBundle, topology: Topology, tmp_path: Path) -> None:
    net = network_of(tiny_bundle, topology)
    save_network(kind_of_controlnet(net.config), net, tmp_path / "own")
    found = find_controlnet(tmp_path / "own")
    assert found.config == net.config
    assert is_same(load_network(found, dtype=torch.float32), net)
    convert(tmp_path / "own", tmp_path / "one.safetensors", "safetensors")
    assert is_same(read(tmp_path / "one.safetensors"), net)
    notes = convert(tmp_path / "one.safetensors", tmp_path / "again", "diffusers")
    assert is_same(read(tmp_path / "again"), net)
    assert bool(notes) == (topology == "upstream")
    description = describe(tmp_path / "own")
    assert (description.components[0].name, description.missing) == ("controlnet", ())
    with pytest.raises(CheckpointError, match="holds a ControlNet alone"):
        open_model(tmp_path / "own").load()
    if topology == "diffusers":
        with pytest.raises(CheckpointError, match="one cannot be written as the other"):
            convert(tmp_path / "own", tmp_path / "one.pth", "upstream")
    else:
        convert(tmp_path / "own", tmp_path / "one.pth", "upstream")
        names = torch.load(tmp_path / "one.pth", weights_only=True)["state_dict"]
        assert {"controlnet.0.before_proj.weight", "controlnet.0.copied_block.attn.qkv.weight"} <= names.keys()


def test_a_pth_of_both(tiny_bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As upstream publishes it: the transformer is read from it, and the ControlNet."""
    config = tiny_bundle.transformer.config
    monkeypatch.setitem(linear_dit._CROSS_HEAD_DIMS, config.hidden_size, config.cross_head_dim)
    net, path = network_of(tiny_bundle, "upstream"), tmp_path / "both_1024px.pth"
    base = UPSTREAM_LINEAR_DIT.from_ours(tiny_bundle.transformer.state_dict())
    write_torch(path, {**base, **UPSTREAM.from_ours(net.state_dict())})
    assert is_same(read(path), net)
    assert {each.name for each in describe(path).components} == {"transformer", "controlnet"}
    notes = convert(path, tmp_path / "folder", "diffusers")
    assert is_same(read(tmp_path / "folder"), net)
    assert not any("left out" in note for note in notes)
    index = json.loads((tmp_path / "folder" / "model_index.json").read_text())
    assert index["_class_name"] == "SanaPipeline"
    assert "controlnet" not in index
    again = convert(path, tmp_path / "only.safetensors", "safetensors")
    assert any("more are left out: it is of the ControlNet" in note for note in again)
    convert(path, tmp_path / "copy.pth", "upstream")
    assert is_same(read(tmp_path / "copy.pth"), net)


def test_a_model_folder_with_one(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    """The model opens as without it, and has the same hash; diffusers' pipeline of that name is read."""
    card = save_bundle(tiny_bundle, tmp_path / "model")
    net = network_of(tiny_bundle, "diffusers")
    save_network(kind_of_controlnet(net.config), net, tmp_path / "model" / "controlnet")
    index = json.loads((tmp_path / "model" / "model_index.json").read_text())
    index |= {"_class_name": "SanaControlNetPipeline", "controlnet": ["diffusers", "SanaControlNetModel"]}
    (tmp_path / "model" / "model_index.json").write_text(json.dumps(index))
    found = hash_parts(open_model(tmp_path / "model").parts)
    assert found == {**card.hashes, "controlnet": hash_tensors(net.state_dict())}
    assert combined_hash(found) == card.model_hash
    assert is_same(read(tmp_path / "model"), net)
    convert(tmp_path / "model", tmp_path / "again", "diffusers")
    assert open_model(tmp_path / "again").card.hashes == found
    assert json.loads((tmp_path / "again" / "model_index.json").read_text()) == index
    assert is_same(read(tmp_path / "again"), net)


def test_what_is_none_or_broken_is_told(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    save_bundle(tiny_bundle, tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds no ControlNet"):
        find_controlnet(tmp_path / "model")
    net = network_of(tiny_bundle, "upstream")
    save_network(kind_of_controlnet(net.config), net, tmp_path / "own")
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    (tmp_path / "own" / "config.json").write_text(json.dumps(config | {"num_layers": 3}))
    with pytest.raises(CheckpointError, match="asks for 3 blocks"):
        find_controlnet(tmp_path / "own")
