"""ImageReward: how much people would like a picture of a prompt, by a BLIP that reads the prompt and sees the picture.

Source: Xu et al., ImageReward, arXiv:2304.05977; the weights are those of its ``ImageReward.pt``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError, RequestError, need_transformers
from sanakit.common.paths import as_path
from sanakit.scoring.extractors.preprocessing import Preprocessing, find_model_folder, pretrained
from sanakit.scoring.pixels import as_images
from sanakit.scoring.rewards.linear_head import linear_head
from sanakit.scoring.rewards.reward import Metadata

_MEAN, _DEVIATION = 0.16717362830052426, 1.0333394966054072  # of the head's numbers, over the authors' data
_NUM_TOKENS = 35
_HEAD_DIM = 64  # of every head of BERT and of the published ViT
_BATCH = 16
_PIXELS = {
    "filter_name": "bicubic",
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "deviation": (0.26862954, 0.26130258, 0.27577711),
}
_IN_TRANSFORMERS = (  # pieces of names in the file, and what they are called there; in this order
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.", "encoder.layers."),
    (r"\.attn\.proj\.", ".self_attn.projection."),
    (r"\.attn\.", ".self_attn."),
    (r"\.norm([12])\.", r".layer_norm\1."),
)


class ImageReward:
    """A number for each picture, about -2 to 2.

    Args:
        vision, text: the towers, of transformers.
        head: ``(B, C)`` to ``(B, 1)``.
        tokenizer: of BERT.
        name: for records.
    """

    def __init__(self, vision: Any, text: Any, head: nn.Module, tokenizer: Any, *, name: str) -> None:
        for each in (vision, text, head):
            each.eval().requires_grad_(False)
        self.vision, self.text, self.head = vision, text, head
        self.tokenizer, self.name = tokenizer, name
        side: int = vision.config.image_size
        self.preprocessing = Preprocessing(size=side, crop=side, **_PIXELS)  # type: ignore[arg-type]
        self.resize_rule = self.preprocessing.rule
        parts = {"vision": vision, "text": text, "head": head}
        self.weights_hash = hash_tensors(
            {f"{part}.{key}": tensor for part, network in parts.items() for key, tensor in network.state_dict().items()}
        )

    def __call__(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]
    ) -> list[float]:
        starts = range(0, len(pictures), _BATCH)
        return [
            score
            for start in starts
            for score in self._score(pictures[start : start + _BATCH], prompts[start : start + _BATCH])
        ]

    @torch.no_grad()
    def _score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[float]:
        device: torch.device = self.vision.device
        pixels = torch.cat([self.preprocessing(as_images([each.convert("RGB")]).to(device)) for each in pictures])
        how = {"padding": "max_length", "truncation": True, "max_length": _NUM_TOKENS, "return_tensors": "pt"}
        tokens = self.tokenizer(list(prompts), **how).to(device)
        seen = self.vision(pixel_values=pixels).last_hidden_state  # (B, 1 + patches, C)
        told = self.text(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=device),
        ).last_hidden_state  # (B, L, C)
        found = (self.head(told[:, 0])[:, 0] - _MEAN) / _DEVIATION  # (B,)
        scores: list[float] = found.tolist()
        return scores


def load_image_reward(place: str, *, device: str | torch.device, hub: HubOptions | None) -> ImageReward:
    """The reward of ``WEIGHTS@TOKENIZER``: the file of the weights, and a folder or hub id of BERT's tokenizer.

    Raises:
        RequestError, DownloadError, CheckpointError: one is not there, damaged, or of another model.
    """
    need_transformers(f"imagereward:{place}")
    from transformers import AutoTokenizer

    weights, _, tokenizer = place.rpartition("@")
    if not weights:
        raise RequestError(
            f"imagereward:{place} names no tokenizer; give imagereward:ImageReward.pt@google-bert/bert-base-uncased"
        )
    folder = as_path(tokenizer) if as_path(tokenizer).is_dir() else find_model_folder(tokenizer, hub)
    words = pretrained(AutoTokenizer, folder, f"the tokenizer of {tokenizer} cannot be read")
    vision, text, head = _towers(read_tensors([as_path(weights)]), as_path(weights))
    return ImageReward(
        vision.to(device), text.to(device), head.to(device), words, name=f"imagereward {as_path(weights).name}"
    )


def _towers(state: Mapping[str, Tensor], path: Path) -> tuple[Any, Any, nn.Module]:
    """The networks with the file's weights.

    Raises:
        CheckpointError: it is another file.
    """
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    vision, text = _below(state, "blip.visual_encoder."), _below(state, "blip.text_encoder.")
    try:
        networks = BlipVisionModel(_vision_config(vision)), BlipTextModel(_text_config(text), add_pooling_layer=False)
        networks[0].load_state_dict({_name(key): tensor.float() for key, tensor in vision.items()})
        own = {key: tensor.float() for key, tensor in text.items() if not key.endswith("position_ids")}
        networks[1].load_state_dict(own)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} does not hold the weights of ImageReward's BLIP") from error
    return *networks, linear_head(_below(state, "mlp."), path)


def _below(state: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {key.removeprefix(start): tensor for key, tensor in state.items() if key.startswith(start)}


def _name(key: str) -> str:
    for pattern, replacement in _IN_TRANSFORMERS:
        key = re.sub(pattern, replacement, key)
    return key


def _vision_config(state: Mapping[str, Tensor]) -> Any:
    from transformers import BlipVisionConfig

    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    return BlipVisionConfig(
        hidden_size=width,
        intermediate_size=len(state["blocks.0.mlp.fc1.weight"]),
        num_hidden_layers=_layers(state, "blocks."),
        num_attention_heads=width // _HEAD_DIM,
        image_size=round((state["pos_embed"].shape[1] - 1) ** 0.5) * patch,
        patch_size=patch,
        layer_norm_eps=1e-6,
    )


def _text_config(state: Mapping[str, Tensor]) -> Any:
    from transformers import BlipTextConfig

    vocabulary, width = state["embeddings.word_embeddings.weight"].shape
    return BlipTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        encoder_hidden_size=state["encoder.layer.0.crossattention.self.key.weight"].shape[1],
        intermediate_size=len(state["encoder.layer.0.intermediate.dense.weight"]),
        num_hidden_layers=_layers(state, "encoder.layer."),
        num_attention_heads=width // _HEAD_DIM,
        max_position_embeddings=len(state["embeddings.position_embeddings.weight"]),
    )


def _layers(state: Mapping[str, Tensor], start: str) -> int:
    return 1 + max(int(key.removeprefix(start).split(".")[0]) for key in state if key.startswith(start))
