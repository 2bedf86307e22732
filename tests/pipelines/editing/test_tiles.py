"""Steps in tiles, pictures that become larger, and edges that meet."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.models.transformers.condition import Condition
from sanakit.pipelines.editing.edit import Edit
from sanakit.pipelines.editing.seamless import middle, wrap
from sanakit.pipelines.editing.tiles import TiledStep
from sanakit.pipelines.picture_file import write_image
from sanakit.pipelines.replay import replay
from sanakit.pipelines.text_to_image import TextToImagePipeline


def picture(width: int, height: int) -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height))


class Recorder:
    """A step that works position by position, so that tiles must not be seen in it."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, latent: Tensor, timestep: Tensor, condition: Any) -> Tensor:
        self.shapes.append(tuple(latent.shape[-2:]))
        return latent.square() + timestep[:, None, None, None]


@pytest.mark.parametrize("size", [(9, 30), (16, 17), (64, 41), (17, 16), (33, 8)])
def test_tiles_are_not_seen_where_a_step_works_by_position(size: tuple[int, int]) -> None:
    latent = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    step = Recorder()
    time, condition = torch.tensor([1.0, 2.0]), Condition(keys=(), values=(), mask=torch.ones(2, 1))
    found = TiledStep(step, tile=8, largest=16)(latent, time, condition)
    torch.testing.assert_close(found, latent.square() + time[:, None, None, None])
    assert set(step.shapes) == {(min(size[0], 8), min(size[1], 8))}
    area = size[0] * size[1]
    assert len(step.shapes) * 64 <= 4 * max(area, 128)


def test_one_tile_is_in_memory_whatever_their_number() -> None:
    made: list[Any] = []
    most = 0

    def step(latent: Tensor, timestep: Tensor, condition: Any) -> Tensor:
        nonlocal most
        most = max(most, sum(each() is not None for each in made))
        made.extend((weakref.ref(latent), weakref.ref(velocity := latent + 1)))
        return velocity

    condition = Condition(keys=(), values=(), mask=torch.ones(1, 1))
    TiledStep(step, tile=8, largest=16)(torch.zeros(1, 1, 64, 64), torch.zeros(1), condition)
    assert len(made) > 200
    assert most <= 1  # the velocity of the tile before, until it has a successor


def test_small_ones_go_through_whole() -> None:
    step = Recorder()
    latent = torch.zeros(1, 1, 16, 5)
    TiledStep(step, tile=8, largest=16)(latent, torch.zeros(1), None)  # type: ignore[arg-type]
    assert step.shapes == [(16, 5)]


def test_a_picture_becomes_larger_and_is_made_again(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    picture(100, 72).save(tmp_path / "small.png")
    common: dict[str, Any] = {"image": tmp_path / "small.png", "edit": Edit(factor=4), "num_inference_steps": 4}
    made = pipeline("", **common).images[0]
    assert made.image.size == (400, 288)
    assert (made.record.request.strength, made.latent.shape[-2:]) == (0.3, (18, 26))
    assert replay(write_image(tmp_path / "large.png", made.image, made.record), pipeline).identical
    alone = pipeline("a cat", num_inference_steps=4).images[0].latent
    together = pipeline(["a cat"], num_inference_steps=4).images[0].latent
    assert torch.equal(alone, together)
    small = pipeline("", **{**common, "edit": Edit(factor=2), "guidance_scale": 1.0}).images[0]
    assert small.image.size == (200, 144)


def test_wrapped_latents() -> None:
    latent = torch.arange(12.0).reshape(1, 1, 3, 4)
    wrapped = wrap(latent, 4)
    assert wrapped.shape == (1, 1, 11, 12)
    assert torch.equal(wrapped[..., 4:7, 4:8], latent)
    assert torch.equal(wrapped[..., 3, 4:8], latent[..., 2, :])
    assert torch.equal(middle(wrapped, (3, 4)), latent)
    assert middle(latent, (3, 4)).equal(wrap(latent, 0))


def test_a_seamless_picture_depends_on_no_place(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    made = pipeline("a cat", seamless=True, seed=3, num_inference_steps=4).images[0]
    together = pipeline(["a dog", "a cat"], seamless=True, seed=3, num_inference_steps=4).images[1]
    assert torch.equal(made.latent, together.latent)
    assert not torch.equal(made.latent, pipeline("a cat", seed=3, num_inference_steps=4).images[0].latent)
    levels = np.asarray(made.image).astype(float)
    across = np.abs(levels[:, 0] - levels[:, -1]).mean()
    inside = np.abs(np.diff(levels, axis=1)).mean()
    assert across < 3 * inside
    assert replay(write_image(tmp_path / "made.png", made.image, made.record), pipeline).identical
    with pytest.raises(RequestError, match="seamless makes edges that meet"):
        pipeline("a cat", seamless=True, image=picture(128, 128), edit=Edit(expand=8))
