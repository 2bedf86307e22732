"""A new kind of network is one module and one line of the table: then it is written, told, described, loaded, hashed.

This file is that module for a toy; the table is the one of ``kinds`` with the toy's line in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.diffusers_layout import save_network, write_network
from sanakit.checkpoints.editing.convert import convert
from sanakit.checkpoints.editing.describe import describe
from sanakit.checkpoints.files import reader
from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.networks import kinds
from sanakit.checkpoints.networks.config_fields import count
from sanakit.checkpoints.networks.dc_ae import DC_AE
from sanakit.checkpoints.networks.key_maps import KeyMap, Rename
from sanakit.checkpoints.networks.kind import FLOATING, Json, NetworkKind, NetworkState, Shapes
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.opening import load_bundle
from sanakit.checkpoints.sources.complete import find_autoencoder
from sanakit.checkpoints.sources.content_hashes import hash_network, verify_hashes
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.common.errors import CheckpointError


@dataclass(frozen=True, kw_only=True, slots=True)
class ToyConfig:
    num_layers: int


class Toy(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(nn.Linear(3, 3, bias=False) for _ in range(config.num_layers))


TOY_NAMES = KeyMap(layout="diffusers", rows=(Rename("layers.{n}.{leaf}", "toy_blocks.{n}.{leaf}"),))


def toy_to_json(config: ToyConfig) -> Json:
    return {"_class_name": "ToyRefiner", "num_layers": config.num_layers}


def infer_toy(shapes: Shapes, names: str) -> ToyConfig:
    return ToyConfig(num_layers=len(shapes))


def toy_layout(names: Collection[str]) -> KeyMap | None:
    return TOY_NAMES if any(name.startswith("toy_blocks.") for name in names) else None


TOY = NetworkKind(
    component="refiner",
    folder="refiner",
    class_name="ToyRefiner",
    noun="toy refiner",
    build=Toy,
    to_json=toy_to_json,
    from_json=lambda fields: ToyConfig(num_layers=count(fields, "num_layers", 1)),
    read_shapes=infer_toy,
    layout_of=toy_layout,
    layouts=lambda config: {"diffusers": TOY_NAMES, "upstream": TOY_NAMES},
    block_name=r"layers\.\d+\.",
    num_blocks=lambda config: config.num_layers,
    dtypes=FLOATING | {"int8"},
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, TOY))
    torch.manual_seed(0)
    return Toy(ToyConfig(num_layers=3))


def test_alone_it_is_a_folder_and_a_file(toy: Toy, tmp_path: Path) -> None:
    save_network(TOY, toy, tmp_path / "toy")
    convert(tmp_path / "toy", tmp_path / "toy.safetensors", "safetensors")
    convert(tmp_path / "toy", tmp_path / "toy.pth", "upstream")
    for source in ("toy", "toy.safetensors", "toy.pth"):
        found = find_parts(tmp_path / source).networks["refiner"]
        assert found.config == toy.config
        assert hash_network(found) == hash_tensors(toy.state_dict())
        loaded: Toy = load_network(found, dtype=torch.float32)
        assert all(torch.equal(tensor, toy.state_dict()[name]) for name, tensor in loaded.state_dict().items())
        assert describe(tmp_path / source).components[0].config == {"num_layers": 3}


def test_in_a_model_folder_it_lies_beside_the_others(toy: Toy, folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(folder, tmp_path / "model")
    save_network(TOY, toy, model / "refiner")
    names = [part.name for part in describe(model).components]
    assert names == ["transformer", "autoencoder", "refiner", "text_encoder"]
    convert(model, tmp_path / "copy", "diffusers")
    assert read_json(tmp_path / "copy" / "model_index.json")["refiner"] == ["diffusers", "ToyRefiner"]
    assert find_parts(tmp_path / "copy").networks["refiner"].config == toy.config
    assert load_bundle(tmp_path / "copy").model_hash
    checks = {check.name: check for check in verify_hashes(tmp_path / "copy")}
    assert checks["refiner"].found == checks["refiner"].expected == hash_tensors(toy.state_dict())


def test_the_kind_says_which_dtypes_it_takes(toy: Toy, tmp_path: Path) -> None:
    def write(name: str, *kind: torch.dtype) -> Path:
        tensors = {f"layers.{i}.weight": torch.ones(3, 3).to(dtype) for i, dtype in enumerate(kind)}
        write_network(tmp_path / name, NetworkState(kind=TOY, config=ToyConfig(num_layers=len(kind)), tensors=tensors))
        return tmp_path / name

    assert find_parts(write("eight", torch.int8, torch.float32)).networks
    with pytest.raises(CheckpointError, match=r"holds int16 weights, such as toy_blocks\.0\.weight"):
        find_parts(write("sixteen", torch.int16))


def test_an_autoencoder_alone_is_found_again(bundle: ModelBundle, tmp_path: Path) -> None:
    save_network(DC_AE, bundle.autoencoder, tmp_path / "vae")
    found = find_autoencoder(tmp_path / "vae")
    assert found.config == bundle.autoencoder.config
    loaded = load_network(found, dtype=torch.float32)
    assert all(torch.equal(t, bundle.autoencoder.state_dict()[name]) for name, t in loaded.state_dict().items())


@pytest.mark.parametrize("has_card", [True, False])
def test_a_header_is_read_once_on_the_way_to_a_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_card: bool
) -> None:
    model = shutil.copytree(folder, tmp_path / "model")
    if not has_card:
        (model / "sanakit.json").unlink()
    headers: list[Path] = []
    plans: list[str] = []
    read, plan = reader._read_safetensors_header, KeyMap.plan

    def counted_plan(self: KeyMap, names: Collection[str]) -> object:
        plans.append(self.layout)
        return plan(self, names)

    monkeypatch.setattr(reader, "_read_safetensors_header", lambda path: headers.append(path) or read(path))
    monkeypatch.setattr(KeyMap, "plan", counted_plan)
    load_bundle(model)
    assert sorted(path.parent.name for path in headers) == ["text_encoder", "transformer", "vae"]
    assert plans == ["diffusers", "diffusers"]


def test_an_archive_is_mapped_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(folder, tmp_path / "t.pth", "upstream")
    shutil.copy(folder / "transformer" / "config.json", tmp_path / "config.json")
    opened: list[Path] = []
    read = reader.read_torch
    monkeypatch.setattr(reader, "read_torch", lambda path: opened.append(path) or read(path))
    load_bundle(tmp_path / "t.pth", autoencoder=folder, text_encoder=folder)
    assert opened == [tmp_path / "t.pth"]
