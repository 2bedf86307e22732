"""ControlNets against diffusers' ``SanaControlNetModel`` beside its transformer, and against upstream's figure."""

from __future__ import annotations

from dataclasses import replace
from tempfile import TemporaryDirectory

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, SanaControlNetModel, SanaControlNetPipeline
from PIL import Image
from test_linear_dit import TINY, inputs, text_of
from torch import Tensor
from transformers import LlamaModel, PreTrainedTokenizerFast
from weights import class_arguments, pipeline_and_parts, randomize_, relative_error, transformer_pair

from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.checkpoints.networks.controlnet import DIFFUSERS, DIFFUSERS_CONTROLNET
from sanakit.common.seeds import draw_noise
from sanakit.models.text.text_encoder import DIFFUSERS_TEXT, TextEncoder
from sanakit.models.transformers.controlnet import ControlNet, ControlNetConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

LIMIT = 5e-6
BASE = replace(TINY, num_layers=5)


def beside(config: LinearDiTConfig, topology: str, *, num_layers: int = 2) -> ControlNetConfig:
    fields = {name: getattr(config, name) for name in LinearDiTConfig.__dataclass_fields__}
    return ControlNetConfig(**{**fields, "num_layers": num_layers, "topology": topology})


@pytest.mark.parametrize("config", [BASE, replace(BASE, interpolation_scale=2.0), replace(BASE, patch_size=2)])
@torch.no_grad()
def test_diffusers_network(config: LinearDiTConfig) -> None:
    theirs, ours = transformer_pair(config)
    own = beside(config, "diffusers")
    their_net = SanaControlNetModel(**class_arguments(DIFFUSERS_CONTROLNET.to_json(own))).eval()
    randomize_(their_net, 5)
    our_net = ControlNet(own).eval()
    our_net.load_state_dict(DIFFUSERS.to_ours(their_net.state_dict()))
    latent, timestep, _ = inputs(config, 2, 6, 8)
    text, picture = text_of(config, 2, 9), torch.randn(2, config.in_channels, 6, 8)
    told = {"encoder_hidden_states": text.embeds, "encoder_attention_mask": text.mask.float(), "timestep": timestep}
    samples = their_net(latent, controlnet_cond=picture, conditioning_scale=0.7, **told, return_dict=False)[0]
    expected = theirs(latent, controlnet_block_samples=tuple(samples), **told).sample
    control = our_net.prepare(text, picture, ours, scale=0.7)
    found = ours(latent, timestep, replace(ours.prepare(text), controls=(control,)))
    assert relative_error(found, expected) < LIMIT
    assert relative_error(found, theirs(latent, **told).sample) > 0.05


@pytest.mark.parametrize("config", [BASE, replace(BASE, qk_norm=True, interpolation_scale=1.0)])
@torch.no_grad()
def test_upstream_network(config: LinearDiTConfig) -> None:
    """As in NVlabs/Sana: copy k runs beside block k + 1, on the state behind block 0."""
    _, base = transformer_pair(config)
    net = ControlNet(beside(config, "upstream", num_layers=3)).eval()
    randomize_(net, 5)
    latent, timestep, _ = inputs(config, 2, 6, 8)
    text, picture = text_of(config, 2, 9), torch.randn(2, config.in_channels, 6, 8)
    control = net.prepare(text, picture, base)
    found = base(latent, timestep, replace(base.prepare(text), controls=(control,)))
    assert relative_error(found, upstream(base, net, latent, timestep, text, picture)) < LIMIT
    assert relative_error(found, base(latent, timestep, base.prepare(text))) > 0.05


def upstream(
    base: LinearDiT, net: ControlNet, latent: Tensor, timestep: Tensor, text: object, picture: Tensor
) -> Tensor:
    told, copies_told = base.prepare(text), net.prepare(text, picture, base).text
    size = latent.shape[-2:]
    x = base.patch_embed(latent).flatten(2).mT
    x = x + base.position(size, x)
    c = base.patch_embed(picture).flatten(2).mT
    time = base.time(timestep, None)
    t0 = base.modulation(torch.nn.functional.silu(time)).unflatten(-1, (6, -1))
    x = base.blocks[0](x, t0, told.text_of(0), size)
    c = net.blocks[0](x + net.before(c), t0, copies_told.text_of(0), size)
    x = base.blocks[1](x + net.after[0](c), t0, told.text_of(1), size)
    for k in range(1, len(net.blocks)):
        c = net.blocks[k](c, t0, copies_told.text_of(k), size)
        x = base.blocks[k + 1](x + net.after[k](c), t0, told.text_of(k + 1), size)
    for k in range(len(net.blocks) + 1, len(base.blocks)):
        x = base.blocks[k](x, t0, told.text_of(k), size)
    shift, scale = (base.final_scale_shift_table + time[:, None]).chunk(2, dim=1)
    x = base.final(torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
    return x.mT.unflatten(-1, size)


def test_diffusers_pipeline(tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    """``SanaControlNetPipeline`` beside ``controls=``: the same noise, picture, scale and network."""
    config = replace(BASE, caption_channels=32, sample_size=16)
    card = ModelCard(
        name="tiny", family="sana", defaults=ImageDefaults(base_size=512), text=DIFFUSERS_TEXT,
        precision=PrecisionPolicy({"transformer": ("float32",)}),
    )  # fmt: skip
    text_encoder = TextEncoder(tiny_language_model, tiny_tokenizer, DIFFUSERS_TEXT)
    ours, (transformer, autoencoder) = pipeline_and_parts(config, card, text_encoder)
    own = beside(config, "diffusers")
    their_net = SanaControlNetModel(**class_arguments(DIFFUSERS_CONTROLNET.to_json(own))).eval()
    randomize_(their_net, 5)
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    peer = SanaControlNetPipeline(
        tokenizer=tiny_tokenizer, text_encoder=tiny_language_model, vae=autoencoder, transformer=transformer,
        controlnet=their_net, scheduler=scheduler,
    )  # fmt: skip
    peer.set_progress_bar_config(disable=True)
    picture = Image.effect_noise((512, 512), 90).convert("RGB")
    latents = draw_noise((4, 16, 16), 3)[None]
    expected = peer(
        "two red apples", control_image=picture, controlnet_conditioning_scale=0.8, num_inference_steps=3,
        guidance_scale=4.5, height=512, width=512, latents=latents.clone(), output_type="latent",
        complex_human_instruction=None,
    ).images  # fmt: skip
    with TemporaryDirectory() as folder:
        their_net.save_pretrained(f"{folder}/net")
        use = {"image": picture, "model": f"{folder}/net", "scale": 0.8}
        found = ours(
            "two red apples", controls=[use], num_inference_steps=3, guidance_scale=4.5, latents=latents,
            output="latent", use_instruction=False, height=512, width=512,
        ).images[0].latent  # fmt: skip
    assert relative_error(found, expected) < 1e-4
