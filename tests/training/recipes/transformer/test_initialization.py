"""Fresh weights have the distributions of SANA's own training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.recipes.transformer.initialization import initialize_

HIDDEN = 128
CONFIG = LinearDiTConfig(
    hidden_size=HIDDEN,
    num_layers=2,
    cross_head_dim=32,
    in_channels=8,
    out_channels=8,
    caption_channels=96,
    patch_size=2,
    qk_norm=True,
    guidance_embeds=True,
)


def fresh(seed: int = 0) -> dict[str, Tensor]:
    model = LinearDiT(CONFIG)
    for parameter in model.parameters():  # so that a tensor that is forgotten is found
        parameter.data.fill_(torch.nan)
    initialize_(model, torch.Generator().manual_seed(seed))
    return model.state_dict()


def test_every_tensor_is_drawn_and_the_seed_decides() -> None:
    first, second, other = fresh(0), fresh(0), fresh(1)
    for name, tensor in first.items():
        assert tensor.isfinite().all(), name
        assert torch.equal(tensor, second[name]), name
        if len(tensor.unique()) > 1:
            assert not torch.equal(tensor, other[name]), name


@pytest.mark.parametrize(
    ("name", "fan_in", "fan_out"),
    [
        ("blocks.0.attention.qkv.weight", HIDDEN, 3 * HIDDEN),
        ("blocks.1.attention.out.weight", HIDDEN, HIDDEN),
        ("blocks.0.cross_attention.q.weight", HIDDEN, HIDDEN),
        ("blocks.1.cross_attention.kv.weight", HIDDEN, 2 * HIDDEN),
        ("patch_embed.weight", 8 * 4, HIDDEN),
        ("final.weight", HIDDEN, 8 * 4),
    ],
)
def test_linear_layers_are_xavier_uniform(name: str, fan_in: int, fan_out: int) -> None:
    check_uniform(fresh()[name], (6 / (fan_in + fan_out)) ** 0.5)


@pytest.mark.parametrize(
    ("name", "fan_in"),
    [
        ("mix_ffn.expand.weight", HIDDEN),
        ("mix_ffn.depthwise.weight", 9),
        ("mix_ffn.project.weight", int(2.5 * HIDDEN)),
        ("mix_ffn.expand.bias", HIDDEN),
        ("mix_ffn.depthwise.bias", 9),
    ],
)
def test_the_mix_ffn_keeps_the_default_of_a_convolution(name: str, fan_in: int) -> None:
    check_uniform(fresh()["blocks.1." + name], fan_in**-0.5)


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("time_embed.linear_1.weight", 0.02),
        ("time_embed.linear_2.weight", 0.02),
        ("modulation.weight", 0.02),
        ("caption_projection.linear_1.weight", 0.02),
        ("caption_projection.linear_2.weight", 0.02),
        ("guidance_embed.linear_1.weight", 0.02),
        ("blocks.0.scale_shift_table", HIDDEN**-0.5),
        ("final_scale_shift_table", HIDDEN**-0.5),
    ],
)
def test_embeddings_and_tables_are_normal(name: str, std: float) -> None:
    tensor = fresh()[name]
    count = tensor.numel()
    assert abs(tensor.mean()) < 4 * std / count**0.5
    assert abs(tensor.std() / std - 1) < 4 / (2 * count) ** 0.5


def test_constants() -> None:
    weights = fresh()
    assert (weights["caption_norm.weight"] == 0.01).all()
    assert not weights["guidance_embed.linear_2.weight"].any()
    for name, tensor in weights.items():
        if "norm_" in name:
            assert (tensor == 1).all(), name
        if name.endswith("bias") and "mix_ffn" not in name:
            assert not tensor.any(), name


def check_uniform(tensor: Tensor, bound: float) -> None:
    """Four standard errors of mean and variance, and no value outside."""
    count = tensor.numel()
    std = bound / 3**0.5
    assert tensor.abs().max() <= bound
    assert abs(tensor.mean()) < 4 * std / count**0.5
    assert abs(tensor.square().mean() / std**2 - 1) < 4 * (0.8 / count) ** 0.5  # var(x^2) = 4/5 E[x^2]^2
