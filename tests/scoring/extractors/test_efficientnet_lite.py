"""EfficientNet-Lite0: right answers, gradients to the pixels, weights that stay."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sanakit.common.errors import MissingExtraError, ShapeError
from sanakit.scoring.extractors.efficientnet_lite import STAGE_CHANNELS, EfficientNetLite0, load_efficientnet_lite0
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.sampling.worded_scenes import Words, scene_of


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return load_efficientnet_lite0()


def test_classifies_a_photograph(network: EfficientNetLite0) -> None:
    """Grace Hopper in uniform, the picture TensorFlow's own examples use: ImageNet class 652, "military uniform"."""
    cbook = pytest.importorskip("matplotlib.cbook")
    path = Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    with Image.open(path) as picture:
        photograph = picture.convert("RGB").crop((0, 0, 512, 512))
    images = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        probabilities = network.network._fc(network(images)).softmax(-1)[0]
    assert probabilities.argmax() == 652
    assert probabilities[652] > 0.2


def test_pictures_of_the_same_object_are_nearer(network: EfficientNetLite0) -> None:
    bank, rng = load_bank("tiny"), np.random.default_rng(3)
    names = ["cat", "banana", "bus", "tree"]
    scenes = [scene_of(Words(names=(name,), style="flat"), bank, rng) for name in names for _ in range(2)]
    pictures = [compose(scene, bank, 64) for scene in scenes if scene is not None]
    with torch.no_grad():
        features = network(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255)
    features = nn.functional.normalize(features - features.mean(0), dim=1)
    nearest = (features @ features.T - 2 * torch.eye(8)).argmax(1)
    assert (nearest // 2 == torch.arange(8) // 2).sum() >= 7


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 97)])
def test_stages_keep_the_size_and_lead_gradients_to_the_pixels(
    network: EfficientNetLite0, height: int, width: int
) -> None:
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels.requires_grad_()
    maps = network.stages(pixels)
    for index, (channels, stage) in enumerate(zip(STAGE_CHANNELS, maps, strict=True)):
        reduction = 2 ** (index + 1)
        assert stage.shape == (2, channels, -(-height // reduction), -(-width // reduction))
    sum(stage.square().mean() for stage in maps).backward()  # type: ignore[union-attr]
    assert pixels.grad is not None
    assert (pixels.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in network.parameters())


def test_training_mode_cannot_be_entered(network: EfficientNetLite0) -> None:
    nn.ModuleList([network]).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.stages(torch.zeros(1, 3, 64, 64))
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_stages_and_features_see_the_same_levels(network: EfficientNetLite0) -> None:
    """[-1, 1] for `stages` and [0, 1] for features are the same picture."""
    levels = torch.randint(0, 256, (1, 3, 224, 224), generator=torch.Generator().manual_seed(1)).float()
    last = network.stages(levels / 127.5 - 1)[-1]
    head = network.network._swish(network.network._bn1(network.network._conv_head(last)))
    torch.testing.assert_close(head.mean((2, 3)), network(levels / 255), rtol=1e-3, atol=1e-4)


def test_small_pictures_are_refused(network: EfficientNetLite0) -> None:
    with pytest.raises(ShapeError, match="at least 32"):
        network.stages(torch.zeros(1, 3, 31, 64))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"sanakit\[eval\]"):
        load_efficientnet_lite0()
