"""The transformer of SANA-Video 2.0 against plain definitions in float64, its files and its size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.checkpoints.identity.known_models import known_clip_card
from sanakit.checkpoints.networks.kinds import kinds_of_names
from sanakit.checkpoints.networks.video_dit2 import UPSTREAM_VIDEO_DIT2, VIDEO_DIT2
from sanakit.common.errors import CheckpointError, ConfigError, ShapeError
from sanakit.layers.depth_mix import DepthMix
from sanakit.layers.gated_attention import GatedLinearAttention
from sanakit.layers.rotary import clip_turns
from sanakit.layers.softmax_attention import SoftmaxAttention
from sanakit.models.presets import VIDEO_DIT2_PRESETS
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.video_dit2 import VideoDiT2, VideoDiT2Config
from sanakit.pipelines.clips.memory import clip_step_bytes
from sanakit.pipelines.decoding.memory import denoising_bytes
from sanakit.pipelines.decoding.trial import PeakMemory

TINY = VideoDiT2Config(
    hidden_size=48, num_layers=5, head_dim=12, anchor_head_dim=24, num_anchors=2, cross_head_dim=12, group=2,
    in_channels=4, caption_channels=16,
)  # fmt: skip


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def randomized(model: Any) -> Any:
    for seed, parameter in enumerate(model.parameters()):
        parameter.data = draw(*parameter.shape, seed=seed) * (parameter[0].numel() ** -0.5 or 0.3)
    return model.double().eval().requires_grad_(False)


def prepared(model: VideoDiT2) -> Condition:
    return model.prepare(TextCondition(draw(2, 5, 16, seed=2), torch.ones(2, 5, dtype=torch.bool)))


def rotated(x: Tensor, turns: Tensor) -> Tensor:
    angle = turns.angle().repeat_interleave(2, dim=-1)  # (N, D)
    partner = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * angle.cos() + partner * angle.sin()


def heads(x: Tensor, head_dim: int) -> Tensor:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def test_gated_linear_attention_is_that_of_its_definition() -> None:
    layer, x, turns = (
        randomized(GatedLinearAttention(24, head_dim=8)),
        draw(2, 7, 24),
        clip_turns(torch.arange(7), 1, 1, 8),
    )
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    q, k, v = (heads(each, 8) for each in (layer.norm_q(q), layer.norm_k(k), v))
    weights = rotated(q, turns) @ rotated(k, turns).mT * torch.sigmoid(layer.beta(x)).mT[:, :, None]  # (B, heads, N, N)
    mixed = weights @ v / ((q.relu() @ k.relu().mT).sum(-1, keepdim=True) + 1e-8)
    mixed = mixed / (mixed.square().mean(-1, keepdim=True) + 1e-5).sqrt() * layer.norm_out.weight
    expected = layer.out(mixed.transpose(1, 2).flatten(2) * torch.sigmoid(layer.gate(x)))
    torch.testing.assert_close(layer(x, turns), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sink", [0, 3, 7])
def test_softmax_attention_is_that_of_its_definition(sink: int) -> None:
    """With the sink as a mask of all tokens with all."""
    layer = randomized(SoftmaxAttention(24, head_dim=8, qk_norm_eps=1e-5, gated=True))
    x, turns = draw(2, 7, 24), clip_turns(torch.arange(7), 1, 1, 8)
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    q, k, v = (heads(each, 8) for each in (layer.norm_q(q), layer.norm_k(k), v))
    sees = torch.ones(7, 7, dtype=torch.bool)
    sees[:sink, sink:] = False
    logits = (rotated(q, turns) @ rotated(k, turns).mT / 8**0.5).masked_fill(~sees, -torch.inf)
    mixed = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    assert layer.gate is not None
    expected = layer.out(mixed * torch.sigmoid(layer.gate(x)))
    torch.testing.assert_close(layer(x, turns, sink=sink), expected, rtol=1e-10, atol=1e-10)


def test_a_mixture_begins_as_the_mean() -> None:
    mix, states = DepthMix(12).double(), [draw(2, 5, 12, seed=seed) for seed in range(3)]
    torch.testing.assert_close(mix(states), torch.stack(states).mean(0), rtol=1e-12, atol=1e-12)
    assert mix(states[:1]) is states[0]
    mix.weight.data = draw(1, 12)
    keys = torch.stack([each / (each.square().mean(-1, keepdim=True) + 1e-6).sqrt() for each in states])
    shares = (keys @ mix.weight[0]).softmax(0)[..., None]
    torch.testing.assert_close(mix(states), (shares * torch.stack(states)).sum(0), rtol=1e-12, atol=1e-12)


def test_layers_see_groups_and_their_own() -> None:
    """The walk through the layers, written out: groups of 2, 2 and 1, with anchors 1 and 4."""
    model = randomized(VideoDiT2(TINY))
    assert TINY.anchors == (1, 4)
    latent, condition, times = draw(2, 4, 3, 2, 2, seed=3), prepared(model), torch.tensor([900.0, 100.0])
    tokens = model.patch_embed(latent).flatten(2).mT
    time = model.time_embed(times)
    modulation = model.modulation(F.silu(time)).unflatten(-1, (6, -1))
    turns = [clip_turns(torch.arange(3), 2, 2, head_dim) for head_dim in (12, 24)]
    ended, own = [tokens], torch.zeros(0)
    for index, block in enumerate(model.blocks):
        begins = index % 2 == 0
        shift1, scale1, gate1, shift2, scale2, gate2 = (block.scale_shift_table + modulation).chunk(6, dim=1)
        x = model.mix_attention(ended if begins else [*ended, own])
        norm = F.layer_norm(x, (48,), eps=1e-6) * (1 + scale1) + shift1
        attended = gate1 * block.attention(norm, turns[index in TINY.anchors])
        delta = attended + block.cross_attention(x + attended, condition.text_of(index))
        own = delta if begins else own + delta
        x = model.mix_ffn([*ended, own])
        own = own + gate2 * block.ffn(F.layer_norm(x, (48,), eps=1e-6) * (1 + scale2) + shift2)
        if index in (1, 3, 4):
            ended = [*ended, own]
    shift, scale = (model.final_scale_shift_table + time[:, None]).chunk(2, dim=1)
    x = model.final(F.layer_norm(model.mix_final(ended), (48,), eps=1e-6) * (1 + scale) + shift)
    expected = x.mT.unflatten(2, (3, 2, 2))
    torch.testing.assert_close(model(latent, times, condition), expected, rtol=1e-9, atol=1e-9)
    of_frames = model(latent, times[:, None].expand(2, 3), condition)
    torch.testing.assert_close(of_frames, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ShapeError, match="is beyond this network's 4 positions"):
        VideoDiT2(replace(TINY, rope_max_length=4))(draw(2, 4, 5, 2, 2).float(), times, condition)


@pytest.mark.parametrize(
    ("name", "parameters"), [("sana-video2-5b-720p", 4_466_980_960), ("sana-video2-14b-720p", 14_246_716_224)]
)
def test_published_sizes(name: str, parameters: int) -> None:
    config = VIDEO_DIT2_PRESETS[name]
    shapes = VIDEO_DIT2.shapes(config)
    assert sum(parameter.numel() for parameter in VIDEO_DIT2.empty(config).parameters()) == parameters
    assert VIDEO_DIT2.infer(shapes, "") == config
    assert len(config.anchors) == config.num_layers // 4
    theirs = UPSTREAM_VIDEO_DIT2.from_ours({each: torch.empty(shape, device="meta") for each, shape in shapes.items()})
    assert kinds_of_names(theirs) == [VIDEO_DIT2]
    assert set(UPSTREAM_VIDEO_DIT2.to_ours(theirs)) == set(shapes)
    assert "blocks.3.attn.output_gate.weight" in theirs
    assert VIDEO_DIT2.from_json(VIDEO_DIT2.to_json(config)) == config
    defaults = known_clip_card(source="x", config=config, compression=32, scheduler=None).defaults
    assert (defaults.flow_shift, defaults.guidance_scale, defaults.base_size) == (12.0, 8.0, 736)


@torch.no_grad()
def test_a_step_takes_less_than_is_planned() -> None:
    """With as much text as tokens, whose keys and values stay."""
    config, latent = replace(TINY, num_layers=8, group=1), draw(1, 4, 2, 8, 8)
    model = randomized(VideoDiT2(config))
    text = TextCondition(draw(1, 128, 16), torch.ones(1, 128, dtype=torch.bool))
    with PeakMemory(model) as memory:
        model(latent, torch.tensor([500.0], dtype=torch.float64), model.prepare(text))
    planned = clip_step_bytes(config, latent.shape[2:], 128, torch.float64)
    assert 1 < planned / memory.peak < 2
    assert denoising_bytes(config, latent.shape[2:], torch.float64) < memory.peak


def test_what_is_no_such_network() -> None:
    with pytest.raises(ConfigError, match="does not split into heads of anchor_head_dim=20"):
        replace(TINY, anchor_head_dim=20)
    shapes = VIDEO_DIT2.shapes(VideoDiT2Config(num_layers=8, num_anchors=2))
    moved = {name: shape for name, shape in shapes.items() if not name.startswith("blocks.0.attention.beta")}
    with pytest.raises(CheckpointError, match="stand elsewhere"):
        VIDEO_DIT2.infer(moved, "")
