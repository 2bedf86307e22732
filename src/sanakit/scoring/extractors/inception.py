"""Inception-v3 up to its pooled 2048 features, for FID and KID as the literature has them; weights by path.

Two files are known by the rows of their classifier, and their networks differ in how averages at borders are taken:

- 1008 rows: ``pt_inception-2015-12-05-6726825d.pth``, TensorFlow's network of the original FID as pytorch-fid ships it;
- 1000 rows: torchvision's ``inception_v3_google-0cc3c7bd.pth``. Its numbers are not comparable with published ones.

Source: Szegedy et al., arXiv:1512.00567; the differences: mseitzer/pytorch-fid, inception.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError
from sanakit.scoring.extractors.extractor import resize_bicubic

Resize = Literal["bilinear", "bicubic"]
Pair = tuple[int, int]

_SIZE = 299
_BATCH_NORM_EPS = 1e-3
_CLASSIFIERS = {1008: "inception-v3-fid", 1000: "inception-v3-torchvision"}
RESIZE_RULES: dict[Resize, str] = {
    "bilinear": "bilinear to 299 x 299 without antialiasing (pytorch-fid), aspect ratio not kept",
    "bicubic": "antialiased bicubic to 299 x 299 (clean-fid), aspect ratio not kept",
}


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels: int, out_channels: int, kernel: int | Pair, stride: int = 1, padding: int | Pair = 0):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionA(nn.Module):
    """Branches 1x1, 5x5, double 3x3 and pooling; 35 x 35 places."""

    def __init__(self, in_channels: int, pool_channels: int, *, count_border: bool):
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(in_channels, pool_channels, 1)
        self.count_border = count_border

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(_average(x, self.count_border))
        return torch.cat([self.branch1x1(x), five, double, pooled], dim=1)


class InceptionB(nn.Module):
    """Halves the size, 35 to 17."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch3x3 = BasicConv2d(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], dim=1)


class InceptionC(nn.Module):
    """7x7 convolutions taken apart into lines; 17 x 17 places."""

    def __init__(self, in_channels: int, middle: int, *, count_border: bool):
        super().__init__()
        across: tuple[Pair, Pair] = (1, 7), (0, 3)
        down: tuple[Pair, Pair] = (7, 1), (3, 0)
        self.branch1x1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(in_channels, middle, 1)
        self.branch7x7_2 = BasicConv2d(middle, middle, across[0], padding=across[1])
        self.branch7x7_3 = BasicConv2d(middle, 192, down[0], padding=down[1])
        self.branch7x7dbl_1 = BasicConv2d(in_channels, middle, 1)
        self.branch7x7dbl_2 = BasicConv2d(middle, middle, down[0], padding=down[1])
        self.branch7x7dbl_3 = BasicConv2d(middle, middle, across[0], padding=across[1])
        self.branch7x7dbl_4 = BasicConv2d(middle, middle, down[0], padding=down[1])
        self.branch7x7dbl_5 = BasicConv2d(middle, 192, across[0], padding=across[1])
        self.branch_pool = BasicConv2d(in_channels, 192, 1)
        self.count_border = count_border

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(_average(x, self.count_border))
        return torch.cat([self.branch1x1(x), seven, double, pooled], dim=1)


class InceptionD(nn.Module):
    """Halves the size, 17 to 8."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch3x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], dim=1)


class InceptionE(nn.Module):
    """3x3 convolutions spread over two lines each; 8 x 8 places. ``pool``: what its last branch does first."""

    def __init__(self, in_channels: int, *, pool: Literal["average", "average_with_border", "maximum"]):
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(in_channels, 192, 1)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        if self.pool == "maximum":
            pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            pooled = _average(x, self.pool == "average_with_border")
        spread = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        spread += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *spread, self.branch_pool(pooled)], dim=1)


class InceptionV3(nn.Module):
    """The network with the names of torchvision's state dict; images in [0, 1] to features ``(B, 2048)``.

    Args:
        num_classes: 1008 builds TensorFlow's network of FID, 1000 torchvision's.
        resize: how pictures come to 299 x 299; part of the protocol.
    """

    num_features = 2048

    def __init__(self, *, num_classes: int, resize: Resize = "bilinear", weights_hash: str = "") -> None:
        super().__init__()
        border = num_classes != 1008
        self.name, self.resize, self.weights_hash = _CLASSIFIERS[num_classes], resize, weights_hash
        self.resize_rule = RESIZE_RULES[resize]
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b = InceptionA(192, 32, count_border=border)
        self.Mixed_5c = InceptionA(256, 64, count_border=border)
        self.Mixed_5d = InceptionA(288, 64, count_border=border)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128, count_border=border)
        self.Mixed_6c = InceptionC(768, 160, count_border=border)
        self.Mixed_6d = InceptionC(768, 160, count_border=border)
        self.Mixed_6e = InceptionC(768, 192, count_border=border)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, pool="average_with_border" if border else "average")
        self.Mixed_7c = InceptionE(2048, pool="average_with_border" if border else "maximum")
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.resized(images) * 2 - 1  # (B, 3, 299, 299)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (B, 192, 71, 71)
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (B, 288, 35, 35)
        x = self.Mixed_6a(x)  # (B, 768, 17, 17)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return x.mean((2, 3)).float()

    def resized(self, images: Tensor) -> Tensor:
        if self.resize == "bicubic":
            return resize_bicubic(images, _SIZE, _SIZE)
        return F.interpolate(images, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False)


def load_inception(path: Path, *, resize: Resize = "bilinear", device: str | torch.device = "cpu") -> InceptionV3:
    """The network of a state dict in torchvision's names, frozen, in eval mode.

    Raises:
        CheckpointError: the file is no such state dict; a TorchScript archive is refused, as it is a program.
    """
    weights = {name: tensor for name, tensor in read_tensors([path]).items() if not name.startswith("AuxLogits.")}
    rows = weights["fc.weight"].shape[0] if "fc.weight" in weights else 0
    if rows not in _CLASSIFIERS or "Mixed_7c.branch1x1.conv.weight" not in weights:
        raise CheckpointError(
            f"{path} holds no Inception-v3 that is known here; give pytorch-fid's pt_inception-2015-12-05-6726825d.pth "
            f"(1008 classes) or torchvision's inception_v3_google-0cc3c7bd.pth (1000 classes)"
        )
    with torch.device("meta"):
        network = InceptionV3(num_classes=rows, resize=resize, weights_hash=hash_tensors(weights))
    absent = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    for name in absent - weights.keys():
        weights[name] = torch.tensor(0)
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit Inception-v3 ({str(error).splitlines()[1].strip()})") from error
    return network.eval().requires_grad_(False).float().to(device)


def _average(x: Tensor, count_border: bool) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=count_border)
