"""Picture features of transformers models: the vision towers of CLIP and SigLIP, DINOv2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError, need_transformers
from sanakit.scoring.extractors.preprocessing import (
    Preprocessing,
    find_model_folder,
    kind_of_model,
    pretrained,
    read_preprocessing,
)

_WITH_PROJECTION = frozenset({"clip", "siglip"})  # SigLIP 2 of a fixed size says "siglip"; NaFlex is not offered
_VISION_ONLY = frozenset({"dinov2", "dinov2_with_registers", "clip_vision_model", "siglip_vision_model"})


class VisionTower(nn.Module):
    """A frozen picture encoder; its features are those that the model compares with texts, or the pooled ones."""

    def __init__(self, network: Any, preprocessing: Preprocessing, *, name: str, projected: bool) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.preprocessing, self.name, self.projected = preprocessing, name, projected
        self.resize_rule = preprocessing.rule
        self.weights_hash = hash_tensors(self.network.state_dict())
        with torch.no_grad():
            side = preprocessing.crop or preprocessing.size
            self.num_features = self(torch.zeros(1, 3, side, side)).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] to features ``(B, F)``, not normalised."""
        return self.features(self.preprocessing(images))

    def features(self, pixels: Tensor) -> Tensor:
        """The same of pixels as the network takes them."""
        look = self.network.get_image_features if self.projected else self.network
        return features_of(look(pixel_values=pixels))


class FirstToken(nn.Module):
    """A plain ViT such as DINO (arXiv:2104.14294), whose first token after the last norm says what is in a picture."""

    def __init__(self, network: Any, *, name: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.name, self.weights_hash = name, hash_tensors(self.network.state_dict())

    def features(self, pixels: Tensor) -> Tensor:
        """Pixels ``(B, 3, H, W)`` as the network takes them, of any size, to ``(B, F)``."""
        found = self.network(pixel_values=pixels, interpolate_pos_encoding=True)
        first: Tensor = found.last_hidden_state[:, 0].float()
        return first


def features_of(output: Any) -> Tensor:
    """``(B, F)`` float32 of what a tower of transformers gives, in any of its versions."""
    return (output if isinstance(output, Tensor) else output.pooler_output).float()


def load_vision_tower(
    name_or_path: str, *, device: str | torch.device = "cpu", hub: HubOptions | None = None
) -> VisionTower:
    """A folder or hub id of a transformers CLIP, SigLIP or DINOv2.

    Raises:
        RequestError, DownloadError, CheckpointError: it is not there, or another kind of model.
    """
    network, preprocessing, kind = load_transformers_model(name_or_path, hub)
    projected = hasattr(network, "get_image_features")
    tower = VisionTower(network, preprocessing, name=f"{kind} {name_or_path}", projected=projected)
    return tower.to(device)


def load_first_token(
    name_or_path: str, *, device: str | torch.device = "cpu", hub: HubOptions | None = None
) -> FirstToken:
    """A folder or hub id of a transformers ViT, such as ``facebook/dino-vitb16``.

    Raises:
        RequestError, DownloadError, CheckpointError: it is not there, or another kind of model.
    """
    need_transformers(f"{name_or_path} as a scorer")
    from transformers import ViTModel

    folder = find_model_folder(name_or_path, hub)
    kind = kind_of_model(folder)
    if kind != "vit":
        raise CheckpointError(f"{name_or_path} is a {kind} model; give a ViT, such as facebook/dino-vitb16")
    otherwise = f"{name_or_path} cannot be loaded"
    network = pretrained(ViTModel, folder, otherwise, dtype=torch.float32, add_pooling_layer=False)
    return FirstToken(network, name=f"{kind} {name_or_path}").to(device)


def load_transformers_model(name_or_path: str, hub: HubOptions | None = None) -> tuple[Any, Preprocessing, str]:
    """The network in float32, how it wants its pictures, and the kind of model, which is any where code is trusted."""
    need_transformers(f"{name_or_path} as a scorer")
    from transformers import AutoModel

    folder, trusted = find_model_folder(name_or_path, hub), hub is not None and hub.trusts(name_or_path)
    kind = kind_of_model(folder, trusted=trusted)
    if kind not in _WITH_PROJECTION | _VISION_ONLY and not trusted:
        known = ", ".join(sorted(_WITH_PROJECTION | _VISION_ONLY))
        raise CheckpointError(f"{name_or_path} is a {kind} model; give one of {known}")
    preprocessing, otherwise = read_preprocessing(folder), f"{name_or_path} cannot be loaded"
    network = pretrained(AutoModel, folder, otherwise, trusted=trusted, dtype=torch.float32)
    return network, preprocessing, kind
