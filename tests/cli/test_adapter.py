"""The commands about adapters, and pictures with them from the shell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sanakit
from sanakit.checkpoints.opening import open_model
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture
def adapter(tmp_path: Path, tiny_model: Path) -> Path:
    """In kohya's spelling, of two layers."""
    size = open_model(tiny_model).parts.transformer.config.hidden_size
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in ("attn1_to_q", "attn2_to_out_0"):
        name = f"lora_unet_transformer_blocks_0_{layer}"
        tensors[f"{name}.lora_down.weight"] = torch.randn(2, size, generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.randn(size, 2, generator=generator)
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    path = tmp_path / "cat.safetensors"
    save_file(tensors, path, metadata={"ss_output_name": "cat"})
    return path


def picture(model: Any, *adapters: object) -> np.ndarray:
    made = sanakit.load(model)("a cat", num_inference_steps=2, adapters=adapters)
    return np.asarray(made.images[0].picture).astype(int)


def test_inspect_and_convert(run: Any, adapter: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run("adapter", "inspect", adapter, "--model", tiny_model, "--json")
    facts = json.loads(done.out)
    assert (facts["spelling"], facts["ranks"], facts["kinds"]) == ("kohya", [2], ["LoRA"])
    assert set(facts["layers"]) == {"transformer_blocks.0.attn1.to_q", "transformer_blocks.0.attn2.to_out.0"}
    assert all(layer["norm"] > 0 for layer in facts["layers"].values())
    assert "rank 2" in run("adapter", "inspect", adapter, "--model", tiny_model).out
    target = tmp_path / "diffusers.safetensors"
    assert run("adapter", "convert", adapter, "-o", target, "--model", tiny_model).code == 0
    assert "transformer.transformer_blocks.0.attn1.to_q.lora_A.weight" in load_file(target)
    refused = run("adapter", "inspect", adapter)  # of the starter
    assert refused.code != 0
    assert "does not fit" in refused.err
    assert run("adapter", "convert", adapter, "-o", tmp_path / "x.pth", "--model", tiny_model).code == 2


def test_fuse_extract_and_merge(run: Any, adapter: Path, tiny_model: Path, tmp_path: Path) -> None:
    beside = picture(tiny_model, (adapter, 0.5))
    assert run("adapter", "fuse", tiny_model, tmp_path / "fused", "--adapter", f"{adapter}:0.5").code == 0
    assert np.abs(picture(tmp_path / "fused") - beside).max() <= 1
    assert run("adapter", "extract", tiny_model, tmp_path / "fused", "-o", tmp_path / "e.safetensors").code == 0
    assert np.abs(picture(tiny_model, tmp_path / "e.safetensors") - beside).max() <= 1
    halves = [f"{adapter}:0.3", f"{adapter}:0.2"]
    assert run("adapter", "merge", *halves, "-o", tmp_path / "m.safetensors", "--model", tiny_model).code == 0
    assert np.abs(picture(tiny_model, tmp_path / "m.safetensors") - beside).max() <= 1
    equal = run("adapter", "extract", tiny_model, tiny_model, "-o", tmp_path / "n.safetensors")
    assert equal.code == 2
    assert "nothing to extract" in equal.err


def test_pictures_from_the_shell_and_their_replay(run: Any, adapter: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    out, plain = tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"
    words = ("generate", "a cat", "--model", tiny_model, "--steps", "1")
    assert run(*words, "--adapter", f"{adapter}:0.5", "-o", out).code == 0
    assert run(*words, "-o", plain).code == 0
    assert out.read_bytes() != plain.read_bytes()
    (tmp_path / "kept").mkdir()
    moved = adapter.rename(tmp_path / "kept" / "other.safetensors")
    missing = run("replay", out, "--model", tiny_model)
    assert missing.code != 0
    assert "cat.safetensors" in missing.err
    assert run("replay", out, "--model", tiny_model, "--adapter", moved).code == 0


def test_networks_that_take_turns_carry_them_every_time(adapter: Path, tiny_model: Path) -> None:
    opened = open_model(tiny_model)
    asked: dict[str, Any] = {"num_images": 2, "num_inference_steps": 2, "adapters": adapter}
    together, turns = (TextToImagePipeline(each.load()) for each in (opened, replace(opened, in_turns=True)))
    pairs = zip(together("a cat", **asked).images, turns("a cat", **asked).images, strict=True)
    assert all(np.array_equal(a.picture, b.picture) for a, b in pairs)
