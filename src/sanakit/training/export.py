"""A finished run as a model folder that sanakit and diffusers open."""

from __future__ import annotations

from pathlib import Path

import torch

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.card import ModelCard
from sanakit.checkpoints.precision import OWN_LINE
from sanakit.models.dc_ae import DCAutoencoder
from sanakit.models.linear_dit import LinearDiT
from sanakit.models.text_encoder import TextEncoder

STARTER_LICENCE = "Apache-2.0"


def export_starter(
    transformer: LinearDiT, autoencoder: DCAutoencoder, text_encoder: TextEncoder, folder: Path, *,
    resolution: int, flow_shift: float, guidance_scale: float = 4.5, num_inference_steps: int = 20,
) -> ModelBundle:
    """Write ``folder`` in the diffusers layout, weights in bfloat16, without the text encoder.

    Returns:
        the model as a user will load it: the weights rounded to bfloat16, computing in float32.
    """
    card = ModelCard(
        name="sanakit-starter", family="starter", base_size=resolution, precision=OWN_LINE, flow_shift=flow_shift,
        num_inference_steps=num_inference_steps, guidance_scale=guidance_scale,
        pag_layers=(transformer.config.num_layers // 2,), text=text_encoder.config, licence=STARTER_LICENCE,
    )
    bundle = ModelBundle(
        transformer=transformer.bfloat16().float().eval(), autoencoder=autoencoder.bfloat16().float().eval(),
        text_encoder=text_encoder, card=card,
    )
    card = save_bundle(bundle, folder, include_text_encoder=False, dtype=torch.bfloat16, force=True)
    return ModelBundle(
        transformer=bundle.transformer, autoencoder=bundle.autoencoder, text_encoder=text_encoder, card=card
    )
