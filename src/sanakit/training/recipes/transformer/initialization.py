"""How a transformer's weights are drawn before training from scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sanakit.layers.embeddings import CaptionProjection, ScalarEmbedding
from sanakit.layers.mix_ffn import MixFFN, TemporalMixFFN
from sanakit.layers.norms import RMSNorm
from sanakit.models.transformers.linear_dit import Block, LinearDiT
from sanakit.models.transformers.video_dit import VideoBlock, VideoDiT


@torch.no_grad()
def initialize_(model: LinearDiT | VideoDiT, generator: torch.Generator) -> None:
    """Draw all weights of ``model`` anew, in place, as SANA's own training does.

    Linear layers are Xavier-uniform with zero biases, embeddings and modulation N(0, 0.02), the Mix-FFN keeps
    PyTorch's default of a convolution, tables are N(0, 1) / sqrt(C), and the norm of the text starts at 0.01: hidden
    states of a language model are so large that the loss is lost in the first steps without. Nothing is zeroed but
    the second layer of a guidance embedding, so that a teacher's network starts unchanged, and the convolution over
    time, so that a network of clips starts with each frame by itself.

    Args:
        model: on the device of ``generator``.
        generator: of all draws; the same seed gives the same weights.

    Source: NVlabs/Sana, ``initialize_weights``.
    """
    for module in model.modules():
        match module:
            case nn.Linear():
                _xavier_(module.weight, generator)
                _zero_bias_(module)
    table_std = model.config.hidden_size**-0.5
    for module in model.modules():
        match module:
            case ScalarEmbedding() | CaptionProjection():
                _normal_(module.linear_1.weight, 0.02, generator)
                _normal_(module.linear_2.weight, 0.02, generator)
            case MixFFN():
                for layer in (module.expand, module.depthwise, module.project):
                    _conv_default_(layer, generator)
                if isinstance(module, TemporalMixFFN):
                    nn.init.zeros_(module.temporal.weight)
            case RMSNorm():
                nn.init.ones_(module.weight)
            case Block() | VideoBlock():
                _normal_(module.scale_shift_table, table_std, generator)
    _xavier_(model.patch_embed.weight.flatten(1), generator)
    _zero_bias_(model.patch_embed)
    _normal_(model.modulation.weight, 0.02, generator)
    _normal_(model.final_scale_shift_table, table_std, generator)
    nn.init.constant_(model.caption_norm.weight, 0.01)
    if isinstance(model, LinearDiT) and model.guidance_embed is not None:
        nn.init.zeros_(model.guidance_embed.linear_2.weight)


def _xavier_(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.xavier_uniform_(weight, generator=generator)


def _normal_(weight: Tensor, std: float, generator: torch.Generator) -> None:
    nn.init.normal_(weight, std=std, generator=generator)


def _zero_bias_(layer: nn.Linear | nn.Conv2d | nn.Conv3d) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _conv_default_(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    """Uniform within ``1 / sqrt(fan_in)``, weights and biases; a linear layer here is upstream's 1x1 convolution."""
    bound = layer.weight[0].numel() ** -0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
