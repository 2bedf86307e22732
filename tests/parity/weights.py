"""Pairs of networks, diffusers' and ours, with the same random weights; shared by the parity tests.

Weights as constructed hide errors: zero biases, unit norms and unit running statistics make several wrong formulas
agree. ``randomize_`` draws everything, so that each tensor of the network moves its output.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderDC, SanaTransformer2DModel, SanaVideoTransformer3DModel
from torch import Tensor, nn

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.networks.dc_ae import DIFFUSERS_DC_AE, dc_ae_to_json
from sanakit.checkpoints.networks.linear_dit import diffusers_linear_dit, linear_dit_to_json
from sanakit.checkpoints.networks.video_dit import DIFFUSERS_VIDEO_DIT, video_dit_to_json
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiT, VideoDiTConfig
from sanakit.pipelines.text_to_image import TextToImagePipeline

Parts = tuple[SanaTransformer2DModel, AutoencoderDC]


@torch.no_grad()
def randomize_(model: nn.Module, seed: int, *, spread: float = 0.2) -> None:
    """Matrices keep the size of their input; vectors (biases, norms, tables) move by N(0, spread) off their default."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        noise = torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else None
        if noise is None or name.endswith(("pos_embed", "rope.freqs_cos", "rope.freqs_sin")):
            continue
        if name.endswith("running_var"):
            tensor.copy_((spread * noise).exp())
        elif tensor.ndim < 2 or name.endswith("scale_shift_table"):
            tensor.add_(spread * noise)
        else:
            tensor.copy_(noise / tensor[0].numel() ** 0.5)


def transformer_pair(config: LinearDiTConfig, seed: int = 0) -> tuple[SanaTransformer2DModel, LinearDiT]:
    theirs = SanaTransformer2DModel(**class_arguments(linear_dit_to_json(config))).eval()
    randomize_(theirs, seed)
    ours = LinearDiT(config).eval()
    layout = diffusers_linear_dit(guidance_embeds=config.guidance_embeds)
    ours.load_state_dict(layout.to_ours(theirs.state_dict()))
    return theirs, ours


def video_transformer_pair(config: VideoDiTConfig, seed: int = 0) -> tuple[SanaVideoTransformer3DModel, VideoDiT]:
    theirs = SanaVideoTransformer3DModel(**class_arguments(video_dit_to_json(config))).eval()
    randomize_(theirs, seed)
    ours = VideoDiT(config).eval()
    ours.load_state_dict(DIFFUSERS_VIDEO_DIT.to_ours(theirs.state_dict()))
    return theirs, ours


def autoencoder_pair(config: DCAutoencoderConfig, seed: int = 0) -> tuple[AutoencoderDC, DCAutoencoder]:
    theirs = AutoencoderDC(**class_arguments(dc_ae_to_json(config))).eval()
    randomize_(theirs, seed)
    ours = DCAutoencoder(config).eval()
    ours.load_state_dict(DIFFUSERS_DC_AE.to_ours(theirs.state_dict()))
    return theirs, ours


def pipeline_and_parts(
    config: LinearDiTConfig, card: ModelCard, text_encoder: TextEncoder
) -> tuple[TextToImagePipeline, Parts]:
    """Our pipeline of a tiny transformer and an autoencoder of 32 pixels a latent, and diffusers' networks."""
    transformer, our_transformer = transformer_pair(config)
    shape = stages((4, 8, 8, 8, 16, 16), (1, 1, 1, 1, 1, 1))
    autoencoder, our_autoencoder = autoencoder_pair(
        DCAutoencoderConfig(encoder=shape, decoder=shape, latent_channels=4, head_dim=8, scaling_factor=0.4)
    )
    bundle = ModelBundle(
        transformer=our_transformer.requires_grad_(False), autoencoder=our_autoencoder.requires_grad_(False),
        text_encoder=text_encoder, card=card,
    )  # fmt: skip
    return TextToImagePipeline(bundle), (transformer, autoencoder)


def class_arguments(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not name.startswith("_")}


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over largest value: the measure that parity is promised in."""
    assert found.shape == expected.shape
    assert found.isfinite().all()
    return float((found - expected).abs().max() / expected.abs().max())
