"""LinearDiT against diffusers' SanaTransformer2DModel with the same random weights, in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import SanaTransformer2DModel
from diffusers.models.attention_processor import PAGCFGSanaLinearAttnProcessor2_0
from torch import Tensor
from weights import relative_error, transformer_pair

from sanakit.checkpoints.networks.linear_dit import diffusers_linear_dit
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

LIMIT = 5e-6  # ten times the largest error measured, 5e-7; promised is 1e-4

TINY = LinearDiTConfig(
    hidden_size=64,
    num_layers=3,
    head_dim=16,
    cross_head_dim=8,
    in_channels=4,
    out_channels=4,
    caption_channels=24,
    sample_size=8,
)
CONFIGS = {
    "v1": TINY,
    "v1.5": replace(TINY, qk_norm=True),
    "sprint": replace(TINY, qk_norm=True, guidance_embeds=True),
    "guidance": replace(TINY, guidance_embeds=True, guidance_scale_factor=0.3),
    "2k": replace(TINY, interpolation_scale=1.0),
    "4k": replace(TINY, interpolation_scale=2.0, qk_norm=True),
    "patch 2": replace(TINY, patch_size=2, out_channels=3),
    "patch 2, position": replace(TINY, patch_size=2, interpolation_scale=1.0),
    "wide ffn": replace(TINY, mlp_ratio=3.3, num_layers=1),
}


def text_of(config: LinearDiTConfig, batch: int, length: int) -> TextCondition:
    """Prompts of unequal lengths with padding on the right; hidden states of a language model are large."""
    generator = torch.Generator().manual_seed(7)
    embeds = 8 * torch.randn(batch, length, config.caption_channels, generator=generator)
    lengths = torch.tensor([max(1, length - 2 * row) for row in range(batch)])
    return TextCondition(embeds, torch.arange(length) < lengths[:, None])


def inputs(config: LinearDiTConfig, batch: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(11)
    latent = torch.randn(batch, config.in_channels, height, width, generator=generator)
    timestep = torch.tensor([999.667, 345.891, 0.25])[:batch]
    return latent, timestep, torch.tensor([4.5, 1.0, 7.25])[:batch] if config.guidance_embeds else None


def run_both(
    theirs: SanaTransformer2DModel,
    ours: LinearDiT,
    text: TextCondition,
    latent: Tensor,
    timestep: Tensor,
    guidance: Tensor | None,
) -> tuple[Tensor, Tensor]:
    expected = theirs(
        latent,
        encoder_hidden_states=text.embeds,
        encoder_attention_mask=text.mask.float(),
        timestep=timestep,
        guidance=None if guidance is None else guidance * ours.config.guidance_scale_factor,  # as their pipeline does
    ).sample
    return ours(latent, timestep, replace(ours.prepare(text), guidance=guidance)), expected


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 8, 8), (3, 6, 10), (2, 4, 12)])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.no_grad()
def test_velocity(config: LinearDiTConfig, batch: int, height: int, width: int, note: Callable[..., None]) -> None:
    theirs, ours = transformer_pair(config)
    found, expected = run_both(theirs, ours, text_of(config, batch, 9), *inputs(config, batch, height, width))
    note(relative_error(found, expected), LIMIT)


@torch.no_grad()
def test_velocity_at_the_width_of_the_600m(note: Callable[..., None]) -> None:
    config = LinearDiTConfig(hidden_size=1152, num_layers=2, cross_head_dim=72, qk_norm=True, interpolation_scale=1.0)
    theirs, ours = transformer_pair(config)
    found, expected = run_both(theirs, ours, text_of(config, 2, 300), *inputs(config, 2, 8, 12))
    note(relative_error(found, expected), LIMIT)


@torch.no_grad()
def test_large_weights(note: Callable[..., None]) -> None:
    """Every tensor N(0, 0.2) as it comes: activations grow by orders, and the networks still agree."""
    config = CONFIGS["v1.5"]
    theirs, ours = transformer_pair(config)
    generator = torch.Generator().manual_seed(3)
    for parameter in theirs.parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    ours.load_state_dict(diffusers_linear_dit(guidance_embeds=False).to_ours(theirs.state_dict()))
    found, expected = run_both(theirs, ours, text_of(config, 3, 9), *inputs(config, 3, 6, 10))
    note(relative_error(found, expected), LIMIT)


@torch.no_grad()
def test_perturbed_rows_are_those_of_their_processor(note: Callable[..., None]) -> None:
    """Without q/k norm only: their processor forgets the norm."""
    theirs, ours = transformer_pair(TINY)
    theirs.transformer_blocks[1].attn1.set_processor(PAGCFGSanaLinearAttnProcessor2_0())
    latent, timestep, _ = inputs(TINY, 3, 6, 10)
    text = text_of(TINY, 3, 9)
    expected = theirs(
        latent, encoder_hidden_states=text.embeds, encoder_attention_mask=text.mask.float(), timestep=timestep
    ).sample
    rows = [ours.prepare(TextCondition(text.embeds[row, None], text.mask[row, None])) for row in range(3)]
    found = ours(latent, timestep, Condition.cat([*rows[:2], rows[2].perturb([1])]))
    note(relative_error(found, expected), LIMIT)
    unperturbed = ours(latent, timestep, ours.prepare(text))
    assert torch.equal(found[:2], unperturbed[:2])
    assert relative_error(unperturbed[2], found[2]) > 1e-3


@pytest.mark.parametrize("name", ["v1", "sprint", "2k"])
def test_gradients(name: str, note: Callable[..., None]) -> None:
    config = CONFIGS[name]
    theirs, ours = transformer_pair(config)
    text = text_of(config, 3, 9)
    for output in run_both(theirs, ours, text, *inputs(config, 3, 6, 10)):
        output.square().mean().backward()
    layout = diffusers_linear_dit(guidance_embeds=config.guidance_embeds)
    expected = layout.to_ours({name: p.grad for name, p in theirs.named_parameters()})
    found = {name: p.grad for name, p in ours.named_parameters()}
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        assert gradient.abs().max() > 0, parameter
        note(relative_error(found[parameter], gradient), 10 * LIMIT, parameter)  # measured: 3e-6
