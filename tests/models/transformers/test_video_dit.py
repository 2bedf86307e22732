"""What VideoDiT must be whatever its weights: positions, times of frames, and a frame by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.kernels.linear_attention import key_sums, read_sums, turned_linear_attention
from sanakit.layers.mix_ffn import MixFFN, TemporalMixFFN
from sanakit.layers.rotary import axis_sizes, clip_turns
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiT, VideoDiTConfig

TINY = VideoDiTConfig(
    hidden_size=48, num_layers=2, cross_head_dim=24, attention=TurnedLinearAttention(head_dim=24),
    in_channels=4, out_channels=4, caption_channels=16,
)  # fmt: skip


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(config: VideoDiTConfig = TINY) -> VideoDiT:
    model = VideoDiT(config).double()
    for seed, parameter in enumerate(model.parameters()):
        parameter.data.copy_(draw(*parameter.shape, seed=seed) * (parameter[0].numel() ** -0.5 or 0.3))
    return model.eval().requires_grad_(False)


def prepared(model: VideoDiT, batch: int = 2) -> Condition:
    return model.prepare(TextCondition(draw(batch, 5, 16, seed=2), torch.ones(batch, 5, dtype=torch.bool)))


def test_attention_is_that_of_its_definition() -> None:
    q, k, v = (draw(2, 3, 10, 8, seed=seed) for seed in range(3))
    turns = clip_turns(torch.arange(5), 1, 2, 8)
    angle = turns.angle().repeat_interleave(2, dim=-1)  # (N, D)

    def rotated(x: Tensor) -> Tensor:
        partner = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
        return x * angle.cos() + partner * angle.sin()

    weights = rotated(q.relu()) @ rotated(k.relu()).mT
    expected = weights @ v / ((q.relu() @ k.relu().mT).sum(-1, keepdim=True) + 1e-15)
    found = turned_linear_attention(q, k, v, turns, eps=1e-15)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    parts = [key_sums(k[..., own, :], v[..., own, :], turns[own]) for own in (slice(0, 4), slice(4, 10))]
    sums = (sum(each) for each in zip(*parts, strict=True))  # of chunks that come one after the other
    torch.testing.assert_close(read_sums(q, *sums, eps=1e-15, turns=turns), expected, rtol=1e-10, atol=1e-10)


def test_without_angles_it_is_the_attention_of_pictures() -> None:
    q, k, v = (draw(1, 2, 6, 8, seed=seed) for seed in range(3))
    weights = q.relu() @ k.relu().mT
    still = torch.ones(6, 4, dtype=torch.complex128)
    found = turned_linear_attention(q, k, v, still, eps=1e-15)
    torch.testing.assert_close(found, weights @ v / weights.sum(-1, keepdim=True), rtol=1e-10, atol=1e-10)


def test_positions_count_relative_to_each_other_and_the_normaliser_knows_none() -> None:
    assert axis_sizes(112) == (40, 36, 36)
    q, k, v = (draw(1, 1, 12, 24, seed=seed).abs() for seed in range(3))
    here, later = (clip_turns(torch.arange(first, first + 3), 2, 2, 24) for first in (0, 7))
    found = [turned_linear_attention(q, k, v, turns, eps=0.0) for turns in (here, later)]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    elsewhere = clip_turns(torch.tensor([0, 1, 5]), 2, 2, 24)
    assert not torch.allclose(turned_linear_attention(q, k, v, elsewhere, eps=0.0), found[0])
    assert torch.equal(key_sums(k, v, here)[1], key_sums(k, v, elsewhere)[1])


def test_mix_ffn_without_its_convolution_over_time_sees_each_frame_alone() -> None:
    layer = TemporalMixFFN(8, 12).double().requires_grad_(False)
    x = draw(2, 3 * 6, 8)
    alone = [MixFFN.forward(layer, frame, height=2, width=3) for frame in x.split(6, dim=1)]
    torch.testing.assert_close(layer(x, height=2, width=3), torch.cat(alone, dim=1), rtol=1e-10, atol=1e-10)
    layer.temporal.weight.copy_(draw(8, 8, 3, 1))
    u = torch.stack(alone, dim=1)  # (B, T, S, C)
    before, after = F.pad(u, (0, 0, 0, 0, 1, 0))[:, :-1], F.pad(u, (0, 0, 0, 0, 0, 1))[:, 1:]
    seen = sum(each @ layer.temporal.weight[:, :, tap, 0].mT for tap, each in enumerate((before, u, after)))
    torch.testing.assert_close(layer(x, height=2, width=3), (u + seen).flatten(1, 2), rtol=1e-10, atol=1e-10)


def test_times_of_clips_frames_and_tokens_agree() -> None:
    model, latent = network(), draw(2, 4, 3, 4, 6)
    condition, times = prepared(model), torch.tensor([700.5, 20.0], dtype=torch.float64)
    expected = model(latent, times, condition)
    for each in (times[:, None].expand(2, 3), times[:, None, None, None].expand(2, 3, 2, 3)):
        torch.testing.assert_close(model(latent, each, condition), expected, rtol=1e-10, atol=1e-10)
    clean = torch.tensor([[True, False, False]] * 2)
    of_frames = times[:, None] * ~clean
    given = model(latent, times, replace(condition, clean=clean))
    torch.testing.assert_close(given, model(latent, of_frames, condition), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(given, expected)


def test_rows_of_a_call_do_not_see_each_other() -> None:
    model, latent = network(), draw(2, 4, 3, 4, 4)
    condition, times = prepared(model), torch.tensor([700.5, 20.0], dtype=torch.float64)
    other = torch.cat([latent[:1], draw(1, 4, 3, 4, 4, seed=9)])
    torch.testing.assert_close(model(latent, times, condition)[0], model(other, times, condition)[0])


def test_what_does_not_fit_is_refused() -> None:
    model = network(replace(TINY, rope_max_length=4))
    condition, times = prepared(model), torch.tensor([700.5, 20.0])
    for latent, message in (
        (draw(2, 4, 3, 4, 5), "multiples of"),
        (draw(2, 5, 3, 4, 4), "reads \\(B, 4, T, H, W\\)"),
        (draw(3, 4, 3, 4, 4), "every latent needs one"),
        (draw(2, 4, 5, 4, 4), "beyond this network's 4 positions"),
    ):
        with pytest.raises(ShapeError, match=message):
            model(latent, times, condition)
    with pytest.raises(ShapeError, match="one for each clip, each frame or each token"):
        model(draw(2, 4, 3, 4, 4), times[:1], condition)
    with pytest.raises(ConfigError, match="an even number of at least 6"):
        replace(TINY, hidden_size=40, cross_head_dim=20, attention=TurnedLinearAttention(head_dim=5))
