"""Training beside a network that stays as it is: only the adapter learns, is kept and written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader

import sanakit
from sanakit.checkpoints.adapters.files import NAMES, read_adapter
from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError
from sanakit.training.recipes.planning import plan
from sanakit.training.recipes.train import train
from sanakit.training.recipes.transformer.recipe import TransformerRecipe


@pytest.fixture
def settings(short_run: dict[str, Any]) -> dict[str, Any]:
    return {
        **short_run,
        "adapter": {"rank": 2, "alpha": 4, "trigger": "zorbl"},
        "samples": {"prompts": ["zorbl"], "every_steps": 4, "steps": 2},
    }


@pytest.mark.parametrize("kind", ["dora", "lokr"])
def test_a_run_leaves_an_adapter_and_continues_to_the_bit(
    kind: str, tmp_path: Path, settings: dict[str, Any], tiny_model: Path
) -> None:
    settings["adapter"] |= {"kind": kind, "dropout": 0.1, "targets": ["to_q", "to_out.0", "ff.conv_inverted"]}
    recipe, run = from_mapping(TransformerRecipe, settings), tmp_path / "run"
    before = {path: path.read_bytes() for path in tiny_model.rglob("*.safetensors")}
    train(recipe, run)
    file = run / "adapter" / NAMES[0]
    first, told = load_file(file), read_adapter(file)
    assert len(told.layers) == 2 * 5  # of both attentions and the Mix-FFN of two blocks
    assert (told.metadata["modelspec.trigger_phrase"], told.metadata["ss_output_name"]) == ("zorbl", "run")
    assert not (run / "model").exists()
    assert [path.name for path in (run / "samples").iterdir()] == ["step-00000004.png"]
    assert all(path.read_bytes() == content for path, content in before.items())
    kept = FileSystemReader(run / "checkpoints" / "step-00000003").read_metadata().state_dict_metadata
    assert kept
    assert not any("patch_embed" in name or "blocks.0." in name for name in kept)  # nothing of the base
    pipeline = sanakit.load(tiny_model)
    pictures = [
        np.asarray(pipeline("zorbl", num_inference_steps=2, adapters=(file, w)).images[0].picture) for w in (0, 1)
    ]
    assert not np.array_equal(*pictures)
    shutil.rmtree(run / "checkpoints" / "step-00000005")
    file.unlink()
    train(recipe, run)
    again = load_file(file)
    assert again.keys() == first.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())


def test_a_plan_counts_the_adapter_alone_as_learned(settings: dict[str, Any]) -> None:
    recipe = from_mapping(TransformerRecipe, settings)
    whole, beside = plan(replace(recipe, adapter=None), "cpu")[0], plan(recipe, "cpu")[0]
    size = 2 * 6 * 2 * (64 + 64) * 4  # blocks, projections, rank, sides, bytes
    assert beside.weights == beside.gradients == beside.ema == size
    assert beside.optimizer < 3 * size
    assert beside.frozen == whole.weights
    assert beside.total < whole.total


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"adapter": {"rank": 0}}, "rank=0"),
        ({"adapter": {"targets": []}}, "targets is empty"),
        ({"adapter": {"kind": "vera"}}, "vera"),
        ({"adapter": {"alpha": -1}}, "alpha"),
        ({"standardise_text": True}, "standardise_text"),
        ({"adapter": {"dropout": 0.1}, "activation_checkpointing": True}, "dropout"),
    ],
)
def test_what_cannot_be_trained_is_told(changes: dict[str, Any], told: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=told):
        from_mapping(TransformerRecipe, settings | changes)


def test_a_target_that_there_is_not(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["adapter"]["targets"] = ["to_kk"]
    with pytest.raises(ConfigError, match="to_k"):
        train(from_mapping(TransformerRecipe, settings), tmp_path / "run")


def test_the_log_of_a_run_falls(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["stages"][0] |= {"steps": 3}
    train(from_mapping(TransformerRecipe, settings), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(0 < line["loss"] < 99 for line in lines)


def test_a_thing_gives_its_word_to_the_adapter(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "thing").mkdir()
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste((0, 128, 128), (20, 20, 40, 44))
    picture.save(tmp_path / "thing" / "a.png")
    thing = {"type": "thing", "path": str(tmp_path / "thing"), "word": "blorp", "bank": "tiny"}
    settings["data"] = thing | {"num_captions": 4, "num_copies": 1}
    settings["adapter"] = {"rank": 2}
    train(from_mapping(TransformerRecipe, settings), tmp_path / "run")
    assert read_adapter(tmp_path / "run" / "adapter" / NAMES[0]).metadata["modelspec.trigger_phrase"] == "blorp"


def test_dreambooth_continues_to_the_bit(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))
    for text in (tmp_path / "photos").glob("*.txt"):
        text.unlink()
    instance = str(tmp_path / "photos")
    settings["data"] = {"type": "dreambooth", "instance": instance, "prompt": "a zorbl cup", "class_prompt": "a cup"}
    settings["data"]["num_class_pictures"] = 3
    run, file = tmp_path / "run", tmp_path / "run" / "adapter" / NAMES[0]
    recipe = from_mapping(TransformerRecipe, settings)
    train(recipe, run)
    first = load_file(file)
    pictures = sorted((tmp_path / "cache" / "features" / "class-pictures").rglob("*.png"))
    assert len(pictures) == 3
    contents = [path.read_bytes() for path in pictures]
    shutil.rmtree(run / "checkpoints" / "step-00000005")
    shutil.rmtree(tmp_path / "cache")  # the pictures are made again, by the model without what it has learned
    train(recipe, run)
    assert [path.read_bytes() for path in pictures] == contents
    again = load_file(file)
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    shutil.rmtree(run / "checkpoints" / "step-00000005")
    settings["data"]["class_prompt"] = "a mug"
    with pytest.raises(ConfigError):
        train(from_mapping(TransformerRecipe, settings), run)
