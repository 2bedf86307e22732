"""The scorer that ships: how well a picture of the starter's world fits a text, by a dual encoder trained here.

Pictures are read by EfficientNet-Lite0 (frozen), texts by the starter's language model (frozen); the small towers of
`models/dual_encoder.py` turn both into vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sanakit.checkpoints.files.small_network import load_small_network, save_small_network
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.text.starter_text_encoder import starter_text_encoder_folder
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.common.devices import quick_autocast, quick_dtype
from sanakit.common.errors import ConfigError
from sanakit.models.dual_encoder import DualEncoder, DualEncoderConfig
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.scoring.extractors.efficientnet_lite import STAGE_CHANNELS, load_efficientnet_lite0
from sanakit.scoring.extractors.extractor import resize_bicubic
from sanakit.scoring.pixels import are_pairs, as_images

PICTURE_SIZE = 128  # pixels each way at which pictures are read
GRID = 4  # patches each way, of 32 pixels
_BATCH = 32
_NUM_KEPT_TEXTS = 4096
_THUMBNAIL = 32  # pixels each way of the reduced picture that goes in beside the features: exact colours
# Channels of a patch: the maps at 1/8 (halved), 1/16 and 1/32 and the thumbnail, each cut into the grid.
PATCH_CHANNELS = 4 * STAGE_CHANNELS[2] + 4 * STAGE_CHANNELS[3] + STAGE_CHANNELS[4] + 3 * (_THUMBNAIL // GRID) ** 2


class PictureReader(nn.Module):
    """Pixels to a grid of patches with EfficientNet-Lite0's maps of three sizes and their own colours; frozen.

    Args:
        bf16: run the network in bfloat16 where that is quick, up to four times faster and 4 % off; for training data.
    """

    def __init__(self, *, bf16: bool = False) -> None:
        super().__init__()
        self.network = load_efficientnet_lite0()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.bf16 = bf16

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to ``(B, 16, PATCH_CHANNELS)``; other sizes than 128 x 128 are resized first."""
        images = resize_bicubic(images, PICTURE_SIZE, PICTURE_SIZE).contiguous(memory_format=torch.channels_last)
        with quick_autocast(images.device, enabled=self.bf16):
            maps = [part.float() for part in self.network.stages(images * 2 - 1)]
        thumbnail = F.avg_pool2d(images, PICTURE_SIZE // _THUMBNAIL)  # (B, 3, 32, 32)
        parts = (F.avg_pool2d(maps[2], 2), maps[3], maps[4], thumbnail)
        return torch.cat([_patches(part) for part in parts], dim=-1)


class DualEncoderScorer:
    """Scores pictures with texts by the logit that they match: above 0 the encoder says yes.

    Args:
        model: the towers; moved to ``device``.
        text_encoder: the starter's language model with `scorer_text` of the model's config.

    Texts are encoded one by one and pictures in batches, so the company moves a score in its last digits at most.
    """

    name = "sanakit-starter-dual-encoder"
    resize_rule = f"antialiased bicubic to {PICTURE_SIZE} x {PICTURE_SIZE}, aspect ratio not kept"

    def __init__(self, model: DualEncoder, text_encoder: TextEncoder, *, device: str | torch.device = "cpu") -> None:
        if text_encoder.hidden_size != model.config.text_channels:
            raise ConfigError(
                f"the language model has states of {text_encoder.hidden_size} channels and the dual encoder reads "
                f"{model.config.text_channels}; they do not belong together"
            )
        self.model = model.to(device).eval().requires_grad_(False)
        self.reader = PictureReader().to(device)
        self.text_encoder = text_encoder
        self.device = torch.device(device)
        self.weights_hash = hash_tensors(model.state_dict())
        self._embed_text = lru_cache(maxsize=_NUM_KEPT_TEXTS)(self._embed_alone)

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        """One logit for each picture with the text at the same place; higher is better.

        Raises:
            RequestError: there are not as many texts as pictures.
        """
        if not are_pairs(images, texts):
            return []
        return self.model.logits(self.embed_pictures(images), self.embed_texts(texts)).tolist()

    def cuts(self, text: str) -> bool:
        """Whether a text has more tokens than are read of it."""
        return self.text_encoder.count_tokens(text).dropped > 0

    @torch.inference_mode()
    def embed_pictures(self, images: Sequence[Image.Image]) -> Tensor:
        """Unit vectors ``(B, embed_size)`` of pictures of any size and mode; transparency lies on white."""
        parts = []
        for start in range(0, len(images), _BATCH):
            pixels = torch.cat([_pixels(image) for image in images[start : start + _BATCH]])
            parts.append(self.model.encode_pictures(self.reader(pixels.to(self.device))))
        return torch.cat(parts)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors ``(B, embed_size)``; the last few thousand texts are kept, as candidates share theirs."""
        return torch.stack([self._embed_text(text) for text in texts])

    @torch.inference_mode()
    def _embed_alone(self, text: str) -> Tensor:
        condition = self.text_encoder.encode([text])[0]
        embeds, mask = condition.embeds.float().to(self.device), condition.mask.to(self.device)
        return self.model.encode_texts(TextCondition(embeds, mask))[0]


def load_starter_scorer(
    *, device: str | torch.device = "cpu", text_encoder: TextEncoder | None = None
) -> DualEncoderScorer:
    """The scorer that ships with the package.

    Args:
        text_encoder: the starter's language model with `scorer_text`, if it is at hand; else it is loaded, and
            fetched on first use.

    Raises:
        MissingExtraError: the packages of EfficientNet-Lite0 are not installed.
        DownloadError: the language model is not on this machine and could not be fetched.
    """
    model = load_dual_encoder(Path(str(resources.files("sanakit").joinpath("starter", "dual_encoder"))))
    return DualEncoderScorer(
        model, text_encoder or load_scorer_text_encoder(model.config, device=device), device=device
    )


def scorer_text(config: DualEncoderConfig) -> TextEncoderConfig:
    """How the language model reads texts: without an instruction, so that the vector is of the text alone."""
    return TextEncoderConfig(
        max_tokens=max(config.num_text_positions, 64), instruction="", num_layers=config.num_language_layers
    )


def load_scorer_text_encoder(config: DualEncoderConfig, *, device: str | torch.device = "cpu") -> TextEncoder:
    """The starter's language model as the towers of this config read it, in bfloat16 where that is quick."""
    folder = starter_text_encoder_folder()
    return load_text_encoder(
        folder / "text_encoder", folder / "tokenizer", dtype=quick_dtype(device), config=scorer_text(config)
    ).to(device)


def save_dual_encoder(model: DualEncoder, folder: Path) -> None:
    """Both scalars stay in float32."""
    save_small_network(model, model.config, folder, exact=("log_scale", "bias"))


def load_dual_encoder(folder: str | Path) -> DualEncoder:
    """What `save_dual_encoder` wrote; raises ``CheckpointError`` if it is missing or damaged."""
    return load_small_network(folder, DualEncoderConfig, DualEncoder, what="dual encoder")


def _patches(part: Tensor) -> Tensor:
    """A map ``(B, C, H, W)`` cut into the grid: ``(B, 16, C * H/4 * W/4)``."""
    height, width = part.shape[2] // GRID, part.shape[3] // GRID
    cut = part.unflatten(3, (GRID, width)).unflatten(2, (GRID, height))  # (B, C, y, h, x, w)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def _pixels(image: Image.Image) -> Tensor:
    """``(1, 3, 128, 128)`` in [0, 1]."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, "white")
        image.alpha_composite(rgba)
    return resize_bicubic(as_images([image.convert("RGB")]), PICTURE_SIZE, PICTURE_SIZE)
