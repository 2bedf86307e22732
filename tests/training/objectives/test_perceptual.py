"""The perceptual distance by hand, over a network whose features are known, and over the two that a recipe names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.training.objectives.perceptual import (
    VGG16,
    Perceptual,
    PerceptualConfig,
    VGG16Features,
    build_perceptual,
    perceptual_distance,
)


class Channels:
    """Two stages: the picture, and its mean over each quarter."""

    def stages(self, pixels: Tensor) -> list[Tensor]:
        return [pixels, F.avg_pool2d(pixels, pixels.shape[-1] // 2)]


def pictures(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("weights", [(), (1.0, 3.0), (0.0, 2.0)])
def test_the_distance_is_one_minus_the_cosine(weights: tuple[float, ...]) -> None:
    """``|a/|a| - b/|b||^2 = 2 - 2 cos(a, b)``, averaged over places, pictures and weighted stages."""
    first, second = pictures(2, 3, 8, 8), pictures(2, 3, 8, 8, seed=1)
    by_stage = [
        (2 - 2 * F.cosine_similarity(a, b, dim=1)).mean()
        for a, b in zip(Channels().stages(first), Channels().stages(second), strict=True)
    ]
    shares = weights or (1.0, 1.0)
    expected = sum(w * d for w, d in zip(shares, by_stage, strict=True)) / sum(shares)
    found = perceptual_distance(Channels(), first, second, stage_weights=weights)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


def test_the_same_picture_has_no_distance_and_brightness_alone_costs_nothing() -> None:
    first = pictures(1, 3, 8, 8)
    assert perceptual_distance(Channels(), first, first) == 0
    assert float(perceptual_distance(Channels(), first, first / 2)) < 1e-9


def test_gradients_reach_the_first_picture_alone_and_are_finite_where_nothing_fires() -> None:
    first = torch.zeros(1, 3, 8, 8, requires_grad=True)
    second = pictures(1, 3, 8, 8, dtype=torch.float32).requires_grad_()
    Perceptual(Channels())(first, second).backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()
    assert second.grad is None
    x = pictures(1, 3, 4, 4, seed=3).requires_grad_()
    other = pictures(1, 3, 4, 4, seed=4)
    assert torch.autograd.gradcheck(lambda p: perceptual_distance(Channels(), p, other), (x,))


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="has 2 stages and stage_weights gives 1"):
        perceptual_distance(Channels(), pictures(1, 3, 8, 8), pictures(1, 3, 8, 8), stage_weights=(1.0,))
    with pytest.raises(ConfigError, match="0 or more"):
        PerceptualConfig(stage_weights=(0.0, 0.0))


def test_the_network_that_comes_along_tells_a_blur_from_noise_of_the_same_square_error() -> None:
    """Deep features of a shifted picture stay nearer than those of a destroyed one; the network stays frozen."""
    distance = build_perceptual(PerceptualConfig())
    picture = F.interpolate(pictures(1, 3, 8, 8, dtype=torch.float32), size=64, mode="bicubic").clamp(-1, 1)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(5))
    slightly, badly = (picture + scale * noise for scale in (0.02, 0.5))
    assert 0 < distance(slightly, picture) < distance(badly, picture) / 2
    assert not any(p.requires_grad for p in distance.parameters())
    assert not distance.train().features.training  # type: ignore[union-attr]


def vgg_state() -> dict[str, Tensor]:
    state, before, index = {}, 3, 0
    generator = torch.Generator().manual_seed(0)
    for widths in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for width in widths:
            scale = (2 / (9 * before)) ** 0.5
            state[f"features.{index}.weight"] = scale * torch.randn(width, before, 3, 3, generator=generator)
            state[f"features.{index}.bias"] = 0.1 * torch.randn(width, generator=generator)
            before, index = width, index + 2
        index += 1
    return state


def test_vgg_is_read_by_torchvisions_names(tmp_path: Path) -> None:
    """Against the network written out: convolutions with ReLU, halved by their maximum between the stages."""
    state = vgg_state()
    save_file({**state, "classifier.0.bias": torch.zeros(3)}, tmp_path / "vgg16.safetensors")
    distance = build_perceptual(PerceptualConfig(features=VGG16Features(path=str(tmp_path / "vgg16.safetensors"))))
    pixels = pictures(1, 3, 32, 32, dtype=torch.float32)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    x = (pixels / 2 + 0.5 - mean) / deviation
    found = distance.features.stages(pixels)
    for stage, last in enumerate((2, 7, 14, 21, 28)):
        first = (0, 5, 10, 17, 24)[stage]
        x = F.max_pool2d(x, 2) if stage else x
        for index in range(first, last + 1, 2):
            x = F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1).relu()
        torch.testing.assert_close(found[stage], x)
    assert len(VGG16().state_dict()) == 26


def test_another_network_is_refused(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.safetensors")
    for name in ("other.safetensors", "missing.pth"):
        with pytest.raises(CheckpointError, match=name):
            build_perceptual(PerceptualConfig(features=VGG16Features(path=str(tmp_path / name))))
