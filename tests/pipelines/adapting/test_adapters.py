"""Adapters of requests: chosen picture by picture, in the record, found again by replay."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sanakit.checkpoints.adapters.fit import open_adapter
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import PictureError, RequestError
from sanakit.pipelines.adapting.carried import layers_of
from sanakit.pipelines.events import Notice
from sanakit.pipelines.replay import replay
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline


def adapter(folder: Path, bundle: ModelBundle, name: str, seed: int, *, more: bool = False) -> Path:
    size = bundle.transformer.config.hidden_size
    generator = torch.Generator().manual_seed(seed)
    tensors = {"other.lora_A.weight": torch.ones(1, 1), "other.lora_B.weight": torch.ones(1, 1)} if more else {}
    for block in range(bundle.transformer.config.num_layers):
        for layer in ("attn1.to_q", "attn1.to_v", "attn2.to_q", "attn2.to_k", "attn2.to_out.0"):
            own = f"transformer.transformer_blocks.{block}.{layer}"
            tensors[f"{own}.lora_A.weight"] = torch.randn(2, size, generator=generator)
            tensors[f"{own}.lora_B.weight"] = torch.randn(size, 2, generator=generator)
    path = folder / name
    save_file(tensors, path)
    return path


@pytest.fixture
def pipeline(tiny_bundle: ModelBundle) -> TextToImagePipeline:
    """Of a network of its own, which carries what it was given once."""
    return TextToImagePipeline(replace(tiny_bundle, transformer=deepcopy(tiny_bundle.transformer)))


def pixels(pipeline: TextToImagePipeline, *adapters: object, prompt: str = "a cat") -> np.ndarray:
    return np.asarray(pipeline(prompt, num_inference_steps=2, adapters=adapters).images[0].picture)


def test_pictures_of_one_call_have_their_own_adapters(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    """Each the same to the bit as alone, and weight 0 as the base model's, before and after."""
    one, two = (adapter(tmp_path, pipeline.bundle, f"{seed}.safetensors", seed) for seed in (1, 2))
    mixes = ([], [one], [(two, -0.5)], [f"{one}:0.5", f"{two}:2"], [f"{one}:0"])
    base = pixels(pipeline)
    alone = [pixels(pipeline, *mix) for mix in mixes]
    requests = [GenerationRequest(prompt="a cat", num_inference_steps=2, adapters=mix) for mix in mixes]
    together = [np.asarray(image.picture) for image in pipeline(requests).images]
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(base, alone[0])
    assert np.array_equal(base, alone[4])
    assert len({a.tobytes() for a in alone}) == 4
    assert not pipeline.bundle.has_changed


def test_it_is_the_model_with_changed_weights(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    path = adapter(tmp_path, pipeline.bundle, "cat.safetensors", 1)
    with_it = pixels(pipeline, (path, 0.3))
    merged = deepcopy(pipeline.bundle)
    for side in open_adapter(path, layers_of(merged.transformer.config)).adapter.paths.values():
        layer = merged.transformer.get_submodule(side.place.layer)
        layer.weight.data[side.place.rows] += 0.3 * side.scale * side.matrix()
    inside = pixels(TextToImagePipeline(merged))
    assert np.abs(with_it.astype(int) - inside).max() <= 1
    assert np.abs(with_it.astype(int) - pixels(pipeline)).max() > 1


def test_a_replay_finds_them_or_says_which_is_missing(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = adapter(folder, pipeline.bundle, "cat.safetensors", 1)
    image = pipeline("a cat", num_inference_steps=2, adapters=f"{path}:0.5").images[0]
    assert image.record.needs == ("adapters",)
    assert image.record.model_dump(mode="json")["request"]["adapters"][0].keys() == {"name", "sha256", "weight"}
    assert "Lora hashes" in image.record.to_a1111()
    picture = image.save(tmp_path / "cat.png")
    assert replay(picture, pipeline, adapters=[path]).identical
    with pytest.raises(PictureError, match=r"cat\.safetensors"):
        replay(picture, pipeline)
    other = adapter(tmp_path, pipeline.bundle, "cat.safetensors", 2)  # of that name
    with pytest.raises(PictureError, match=r"cat\.safetensors"):
        replay(picture, pipeline)
    with pytest.raises(PictureError, match="was not made with"):
        replay(picture, pipeline, adapters=[other])
    path.rename(other)
    assert replay(picture, pipeline).identical


def test_what_no_request_can_ask_for(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    path = adapter(tmp_path, pipeline.bundle, "cat.safetensors", 1, more=True)
    for wrong in (f"{path}:1e9", f"{path}:nan", (path, 1e9), 3, {"sha256": "x"}, [[path]]):
        with pytest.raises(RequestError, match="usable"):
            GenerationRequest(prompt="", adapters=wrong)
    with pytest.raises(RequestError, match=r"there is no adapter none\.safetensors;"):
        GenerationRequest(prompt="", adapters="none.safetensors:0.5")
    fact = {"name": "cat.safetensors", "sha256": "0" * 64, "weight": 1}
    with pytest.raises(RequestError, match="not here"):
        pipeline("a cat", adapters=[fact])
    told: list[object] = []
    pipeline("a cat", num_inference_steps=1, adapters=path, on_event=told.append)
    assert any(isinstance(event, Notice) and "other" in event.message for event in told)
