"""Code that comes with a model runs for nobody but who names that one source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.checkpoints.files.hub_server import HubServer, running_hub

import sanakit
from sanakit.checkpoints.files.hub import HubOptions, resolve_source
from sanakit.checkpoints.opening import load_bundle
from sanakit.common.config import code_of_others
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.models.text.text_encoder import TextEncoder

CONFIG_CODE = """
from pathlib import Path
from transformers import LlamaConfig
Path({ran!r}).write_text("yes")

class OwnConfig(LlamaConfig):
    model_type = "own"
"""
MODEL_CODE = """
from transformers import LlamaModel
from .configuration_own import OwnConfig

class OwnModel(LlamaModel):
    config_class = OwnConfig
"""
MAP = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}


@pytest.fixture(autouse=True)
def own_modules(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers copies such code into a package of its cache, which stays the same as long as the process."""
    folder = str(tmp_path_factory.getbasetemp() / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", folder)
    monkeypatch.syspath_prepend(folder)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Where the code says that it ran."""
    return tmp_path / "ran"


@pytest.fixture
def model(folder: Path, ran: Path, tmp_path: Path) -> Path:
    """A model whose text encoder asks for code of its own, which is that of transformers under another name."""
    copy = Path(shutil.copytree(folder, tmp_path / "own"))
    encoder = copy / "text_encoder"
    (encoder / "configuration_own.py").write_text(CONFIG_CODE.format(ran=str(ran)))
    (encoder / "modeling_own.py").write_text(MODEL_CODE)
    set_config(encoder, model_type="own", auto_map=MAP, architectures=["OwnModel"])
    return copy


def set_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def states(encoder: TextEncoder) -> torch.Tensor:
    return encoder.encode(["w7 w9"])[0].embeds


def test_nobody_is_asked_and_nothing_is_run(model: Path, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        CheckpointError, match="run code of its own; if you know who wrote that, name the model once more"
    ):
        load_bundle(model)
    monkeypatch.chdir(model)
    with pytest.raises(CheckpointError, match="run code of its own"):
        sanakit.load(model, trust_remote_code=False)
    for other in ("org/name", str(model.parent), str(model / "vae"), "", True):
        with pytest.raises(RequestError, match=r"is no source whose own code could be run here; that would be .*own$"):
            sanakit.load(model, trust_remote_code=other)
    assert not ran.exists()


@pytest.mark.parametrize("named", ["{}", "{}/", "{}/../own", "file"])
def test_code_of_the_source_that_is_trusted_is_run(
    named: str, model: Path, folder: Path, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    source = "own" if named == "file" else named.format(model)
    encoder = load_bundle(model, hub=HubOptions(trust_remote_code=source)).text_encoder
    assert type(encoder.model).__name__ == "OwnModel"
    assert torch.equal(states(encoder), states(load_bundle(folder).text_encoder))
    assert ran.exists()


def test_a_text_encoder_of_another_source_is_trusted_by_its_own_name(model: Path, folder: Path, ran: Path) -> None:
    encoder = model / "text_encoder"
    for file in (model / "tokenizer").iterdir():
        shutil.copy(file, encoder / file.name)
    with pytest.raises(RequestError, match="is no source whose own code could be run here"):
        load_bundle(folder, text_encoder=encoder, hub=HubOptions(trust_remote_code=str(folder)))
    assert not ran.exists()
    hub = HubOptions(trust_remote_code=str(encoder))
    assert type(load_bundle(folder, text_encoder=encoder, hub=hub).text_encoder.model).__name__ == "OwnModel"


def test_code_of_another_repository_is_not_run_for_a_source_that_is_trusted(model: Path, ran: Path) -> None:
    hub = HubOptions(trust_remote_code=str(model))
    set_config(model / "text_encoder", auto_map=MAP | {"AutoModel": "evil/repo--modeling_own.OwnModel"})
    with pytest.raises(CheckpointError, match=r"config\.json asks for code of another repository, evil/repo, which is"):
        load_bundle(model, hub=hub)
    set_config(model / "text_encoder", auto_map=MAP)
    tokenizer = model / "tokenizer" / "tokenizer_config.json"
    content = json.loads(tokenizer.read_text()) | {"auto_map": {"AutoTokenizer": [None, "evil/repo--tokens.Own"]}}
    tokenizer.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json asks for code of another repository, evil/repo"):
        load_bundle(model, hub=hub)
    assert not ran.exists()


def test_a_repository_may_name_itself(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auto_map": {"AutoModel": "org/own--own.Own", "AutoTokenizer": ["own.Slow", None]}}))
    assert code_of_others(path, "org/own") is None
    assert code_of_others(path, "org/other") == "org/own"
    path.write_text("{")
    assert code_of_others(path, "") is None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with running_hub(monkeypatch) as server:
        yield server


def test_code_is_fetched_from_the_hub_for_the_source_that_is_trusted_alone(
    hub: HubServer, model: Path, ran: Path, tmp_path: Path
) -> None:
    files = {path.relative_to(model).as_posix(): path for path in model.rglob("*") if path.is_file()}
    hub.repos["org/own"] = hub.repos["org/other"] = {name: path.read_bytes() for name, path in files.items()}
    cache = tmp_path / "hub"
    with pytest.raises(CheckpointError, match="run code of its own"):
        load_bundle("org/own", hub=HubOptions(cache_dir=cache))
    assert not list(cache.rglob("*.py"))
    trusting = HubOptions(cache_dir=cache, trust_remote_code="org/own")
    resolve_source("org/other", hub=trusting)
    assert not list(cache.rglob("*.py"))
    assert type(load_bundle("org/own", hub=trusting).text_encoder.model).__name__ == "OwnModel"
    assert sorted(path.name for path in cache.rglob("*.py")) == ["configuration_own.py", "modeling_own.py"]
    assert ran.exists()
