"""How different two pictures look to a network that knows pictures (LPIPS-like, over any feature network)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, assert_never

import torch
from torch import Tensor, nn

from sanakit.checkpoints.files.reader import read_tensors
from sanakit.common.devices import widened
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.common.paths import as_path


class FeatureStages(Protocol):
    """A frozen network with feature maps of several sizes."""

    def stages(self, pixels: Tensor) -> Sequence[Tensor]:
        """Pixels ``(B, 3, H, W)`` in [-1, 1] to maps ``(B, C_i, H_i, W_i)``, differentiable in the pixels."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EfficientNetFeatures:
    """EfficientNet-Lite0 (ImageNet), which comes with the extra ``train`` and works offline."""

    type: Literal["efficientnet-lite0"] = "efficientnet-lite0"


@dataclass(frozen=True, kw_only=True, slots=True)
class VGG16Features:
    """VGG-16, the network of LPIPS, from a file of its weights in torchvision's names (``features.0.weight`` ...)."""

    type: Literal["vgg16"] = "vgg16"
    path: str


FeatureConfig = EfficientNetFeatures | VGG16Features


@dataclass(frozen=True, kw_only=True, slots=True)
class PerceptualConfig:
    """The network, and what each of its stages counts; no weights: all stages count the same."""

    features: FeatureConfig = field(default_factory=EfficientNetFeatures)
    stage_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.stage_weights and (min(self.stage_weights) < 0 or not sum(self.stage_weights)):
            raise ConfigError(f"stage_weights={list(self.stage_weights)} must be 0 or more, and one of them more")


def perceptual_distance(
    features: FeatureStages, first: Tensor, second: Tensor, *, stage_weights: Sequence[float] = ()
) -> Tensor:
    """Mean over the stages of the mean squared difference of unit-normalised feature vectors; a scalar.

    ``d = sum_i w_i mean_{b,y,x} |f_i(first) / |f_i(first)| - f_i(second) / |f_i(second)||^2 / sum_i w_i``. LPIPS
    learns a weight per channel from judgements of people; here all channels of a stage count the same.

    Args:
        features: of both; the second needs no gradient.
        first, second: ``(B, 3, H, W)`` in [-1, 1].
        stage_weights: one per stage; none for equal ones.

    Raises:
        ConfigError: as many weights as stages are needed.

    Source: Zhang et al., arXiv:1801.03924, equation 1.
    """
    with torch.no_grad():
        targets = features.stages(second.detach())
    maps = features.stages(first)
    weights = tuple(stage_weights) or (1.0,) * len(maps)
    if len(weights) != len(maps):
        raise ConfigError(f"the feature network has {len(maps)} stages and stage_weights gives {len(weights)} weights")
    stages = [stage for stage in zip(weights, maps, targets, strict=True) if stage[0]]
    terms = [weight * (_unit(a) - _unit(b)).square().sum(1).mean() for weight, a, b in stages]
    return torch.stack(terms).sum() / sum(weights)


def _unit(features: Tensor) -> Tensor:
    """Vectors over channels, of length one; where nothing fires, zero, with a finite gradient."""
    wide = widened(features)
    return wide * torch.rsqrt(wide.square().sum(1, keepdim=True) + 1e-10)


class Perceptual(nn.Module):
    """The distance with its frozen network; both see pixels in float32."""

    def __init__(self, features: FeatureStages, stage_weights: Sequence[float] = ()) -> None:
        super().__init__()
        self.features, self.stage_weights = features, tuple(stage_weights)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            first, second = widened(first), widened(second)
            return perceptual_distance(self.features, first, second, stage_weights=self.stage_weights)


def build_perceptual(config: PerceptualConfig, *, device: str = "cpu") -> Perceptual:
    """The distance of a recipe.

    Raises:
        MissingExtraError: the package with the network is not installed.
        CheckpointError: the file with the network cannot be read, or holds another one.
    """
    match config.features:
        case EfficientNetFeatures():
            from sanakit.scoring.extractors.efficientnet_lite import load_efficientnet_lite0

            return Perceptual(load_efficientnet_lite0(device=device), config.stage_weights)
        case VGG16Features(path=path):
            return Perceptual(load_vgg16(as_path(path)).to(device), config.stage_weights)
        case _:
            assert_never(config.features)


class VGG16(nn.Module):
    """The convolutions of VGG-16 (Simonyan and Zisserman, arXiv:1409.1556), frozen; maps before each pooling."""

    mean: Tensor
    deviation: Tensor
    _WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for widths in self._WIDTHS:
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.requires_grad_(False)

    def stages(self, pixels: Tensor) -> list[Tensor]:
        """Five maps of 64 to 512 channels at 1/1, 1/2, ... 1/16 of the size."""
        x = ((pixels + 1) / 2 - self.mean) / self.deviation
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return maps


def load_vgg16(path: Path) -> VGG16:
    """The network with weights from a file; those of its classifier may be there and are not read.

    Raises:
        CheckpointError: it cannot be read or holds another network.
    """
    state = {name: t for name, t in read_tensors([path]).items() if name.startswith("features.")}
    network = VGG16()
    wanted = network.state_dict()
    if {name: t.shape for name, t in state.items()} != {name: t.shape for name, t in wanted.items()}:
        raise CheckpointError(
            f"{path} does not hold VGG-16 in torchvision's names (features.0.weight to features.28.bias), "
            f"but {len(state)} tensors that do not fit"
        )
    network.load_state_dict(state)
    return network.eval()
