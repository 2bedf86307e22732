"""What LinearDiT must be whatever its weights: symmetries, invariances, its two halves, its refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.layers.cross_attention import AttendedText
from sanakit.layers.embeddings import sincos_position
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

TINY = LinearDiTConfig(
    hidden_size=32,
    num_layers=2,
    head_dim=8,
    cross_head_dim=8,
    in_channels=4,
    out_channels=4,
    caption_channels=12,
    sample_size=4,
)


def network(config: LinearDiTConfig = TINY) -> LinearDiT:
    """Every tensor random, in float64, so that what is equal by mathematics is equal to 1e-12."""
    model = LinearDiT(config).double()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 and "table" not in name else 0.3
        parameter.data.copy_(scale * noise + (1.0 if "norm" in name else 0.0))
    return model.eval().requires_grad_(False)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def text_of(batch: int, length: int = 5, seed: int = 2) -> TextCondition:
    mask = torch.arange(length) < torch.tensor([length - row % 3 for row in range(batch)])[:, None]
    return TextCondition(draw(batch, length, 12, seed=seed), mask)


def times(batch: int) -> Tensor:
    return torch.linspace(999.0, 20.5, batch, dtype=torch.float64)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_block_without_projections_is_the_identity(qk_norm: bool) -> None:
    block = network(replace(TINY, qk_norm=qk_norm)).blocks[0]
    for parameter in (
        *block.attention.out.parameters(),
        *block.cross_attention.out.parameters(),
        *block.mix_ffn.project.parameters(),
    ):
        parameter.zero_()
    x = draw(2, 6, 32)
    pair = block.cross_attention.prepare(draw(2, 3, 32))
    mask = torch.ones(2, 1, 1, 3, dtype=torch.bool)
    assert torch.equal(block(x, draw(2, 6, 32), AttendedText(*pair, mask), (2, 3)), x)


def test_each_gate_and_shift_moves_its_own_half() -> None:
    """The rows of the table are shift, scale, gate of the attention, then of the Mix-FFN."""
    block = network().blocks[0]
    block.cross_attention.out.weight.zero_()
    block.cross_attention.out.bias.zero_()
    x, modulation = draw(1, 6, 32), draw(1, 6, 32)
    pair = block.cross_attention.prepare(draw(1, 3, 32))
    mask = torch.ones(1, 1, 1, 3, dtype=torch.bool)
    shift1, scale1, gate1, shift2, scale2, gate2 = (block.scale_shift_table + modulation)[0]
    y = x + gate1 * block.attention(F.layer_norm(x, (32,), eps=1e-6) * (1 + scale1) + shift1)
    y = y + gate2 * block.mix_ffn(F.layer_norm(y, (32,), eps=1e-6) * (1 + scale2) + shift2, height=2, width=3)
    torch.testing.assert_close(block(x, modulation, AttendedText(*pair, mask), (2, 3)), y)


def test_the_order_of_text_tokens_does_not_matter() -> None:
    model, text = network(), text_of(2)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = TextCondition(text.embeds[:, order], text.mask[:, order])
    latent = draw(2, 4, 4, 6)
    found = model(latent, times(2), model.prepare(shuffled))
    torch.testing.assert_close(found, model(latent, times(2), model.prepare(text)), rtol=1e-12, atol=1e-12)


def test_padding_does_not_matter_and_text_does() -> None:
    model, latent = network(), draw(2, 4, 4, 6)
    text = TextCondition(draw(2, 5, 12), torch.ones(2, 5, dtype=torch.bool))
    padded = TextCondition(F.pad(text.embeds, (0, 0, 0, 7), value=1e3), F.pad(text.mask, (0, 7)))
    expected = model(latent, times(2), model.prepare(text))
    torch.testing.assert_close(model(latent, times(2), model.prepare(padded)), expected, rtol=1e-12, atol=1e-12)
    other = TextCondition(text.embeds.flip(0), text.mask)
    assert (model(latent, times(2), model.prepare(other)) - expected).abs().max() > 1e-3


def test_prepared_once_or_at_every_step() -> None:
    model, text = network(), text_of(2)
    prepared = model.prepare(text)
    for seed in range(3):
        latent = draw(2, 4, 4, 4, seed=seed)
        assert torch.equal(model(latent, times(2), prepared), model(latent, times(2), model.prepare(text)))


def test_prompts_of_several_lengths_in_one_batch() -> None:
    """``cat`` pads; a row gives what it gives alone."""
    model = network()
    parts = [model.prepare(text_of(1, length, seed=length)) for length in (3, 7, 4)]
    joined = Condition.cat(parts)
    assert joined.batch_size == 3
    assert joined.mask.sum(-1).flatten().tolist() == [3, 7, 4]
    latent = draw(3, 4, 4, 6)
    found = model(latent, times(3), joined)
    for row, part in enumerate(parts):
        alone = model(latent[row, None], times(3)[row, None], part)
        torch.testing.assert_close(found[row, None], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [2, 3, 5])
def test_a_row_does_not_depend_on_its_company(dtype: torch.dtype, batch: int) -> None:
    """To the bit, on the CPU, in a call with as many rows; and from run to run.

    The number of rows may change the last bit, since products are cut by it: the pipeline gives every picture its own
    calls there.
    """
    model = network().to(dtype)
    latent, text, timestep = draw(2 * batch, 4, 4, 4).to(dtype), text_of(2 * batch), times(2 * batch).float()
    each = [
        model.prepare(TextCondition(text.embeds[row, None].to(dtype), text.mask[row, None])) for row in range(2 * batch)
    ]
    here, there = list(range(batch)), [0, *range(batch + 1, 2 * batch)]
    found, again, other = (
        model(latent[rows], timestep[rows], Condition.cat([each[row] for row in rows])) for rows in (here, here, there)
    )
    assert torch.equal(found, again)
    assert torch.equal(found[0], other[0])
    # against the same row alone: float32 holds 24 bits, bfloat16 eight
    alone = model(latent[:1], timestep[:1], each[0])
    assert (alone[0] - found[0]).abs().max() < (1e-5 if dtype == torch.float32 else 0.1) * found[0].abs().max()


def test_patches_lie_row_by_row_with_channels_last() -> None:
    model = network(replace(TINY, patch_size=2, out_channels=3))
    model.final.weight.zero_()
    model.final.bias.copy_(torch.arange(12.0))  # (p, q, c) in row-major order
    found = model(draw(1, 4, 4, 6), times(1), model.prepare(text_of(1)))
    assert found.shape == (1, 3, 4, 6)
    for p in (0, 1):
        for q in (0, 1):
            for c in range(3):
                assert (found[0, c, p::2, q::2] == (2 * p + q) * 3 + c).all()


def test_a_patch_reads_its_own_pixels_in_the_order_of_the_convolution() -> None:
    model, latent = network(replace(TINY, patch_size=2)), draw(1, 4, 4, 6)
    tokens = model.patch_embed(latent).flatten(2).mT[0]
    patch = latent[0, :, 2:4, 2:4].flatten()  # second row, second column of a 2x3 grid
    torch.testing.assert_close(tokens[4], model.patch_embed.weight.flatten(1) @ patch + model.patch_embed.bias)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_perturbed_attention_is_the_identity_in_its_rows_and_layers(qk_norm: bool) -> None:
    model = network(replace(TINY, qk_norm=qk_norm))
    latent, parts = draw(3, 4, 4, 6), [model.prepare(text_of(1, seed=seed)) for seed in range(3)]
    prepared = Condition.cat(parts)
    found = model(latent, times(3), Condition.cat([*parts[:2], parts[2].perturb([1])]))
    plain = model(latent, times(3), prepared)
    assert torch.equal(found[:2], plain[:2])
    attention = model.blocks[1].attention
    attention.forward = lambda x, identity_rows=None: attention.out(attention.qkv(x).chunk(3, dim=-1)[2])
    torch.testing.assert_close(found[2], model(latent, times(3), prepared)[2], rtol=1e-12, atol=1e-12)
    assert (found[2] - plain[2]).abs().max() > 1e-3


def test_no_perturbed_layer_changes_nothing() -> None:
    model, latent = network(), draw(2, 4, 4, 4)
    prepared = model.prepare(text_of(2))
    assert torch.equal(model(latent, times(2), prepared.perturb([])), model(latent, times(2), prepared))


def test_each_row_may_be_perturbed_in_layers_of_its_own() -> None:
    model, latent = network(), draw(3, 4, 4, 4)
    one = model.prepare(text_of(1))
    parts = [one.perturb([0]), one, one.perturb([0, 1])]
    together = model(latent, times(3), Condition.cat(parts))
    for row, part in enumerate(parts):
        alone = model(latent[row, None], times(3)[row, None], part)
        torch.testing.assert_close(together[row, None], alone, rtol=1e-12, atol=1e-12)


def test_guidance_is_scaled_and_embedded_beside_the_time() -> None:
    model = network(replace(TINY, guidance_embeds=True, guidance_scale_factor=0.25))
    double = network(replace(TINY, guidance_embeds=True, guidance_scale_factor=0.5))
    latent, prepared = draw(2, 4, 4, 4), model.prepare(text_of(2))
    found = model(latent, times(2), replace(prepared, guidance=torch.tensor([4.0, 8.0])))
    assert torch.equal(found, double(latent, times(2), replace(prepared, guidance=torch.tensor([2.0, 4.0]))))
    other = model(latent, times(2), replace(prepared, guidance=torch.tensor([5.0, 8.0])))
    assert (found - other)[0].abs().max() > 1e-4
    model.guidance_embed.linear_2.weight.zero_()
    model.guidance_embed.linear_2.bias.zero_()
    plain = LinearDiT(TINY).double()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("guidance_embed")})
    found = model(latent, times(2), replace(prepared, guidance=torch.tensor([4.0, 8.0])))
    torch.testing.assert_close(found, plain(latent, times(2), prepared))


def test_the_time_scale_multiplies_the_time() -> None:
    scaled, plain, latent = network(replace(TINY, timestep_scale=0.5)), network(), draw(2, 4, 4, 4)
    prepared = plain.prepare(text_of(2))
    assert torch.equal(scaled(latent, times(2), prepared), plain(latent, times(2) / 2, prepared))


def test_positions_are_added_once_after_the_patches() -> None:
    model, plain = network(replace(TINY, interpolation_scale=1.0)), network()
    latent, prepared = draw(1, 4, 4, 4), plain.prepare(text_of(1))
    position = sincos_position(4, 4, 32, base_size=4, interpolation_scale=1.0, device=latent.device).to(latent.dtype)
    embed = plain.patch_embed.forward
    plain.patch_embed.forward = lambda x: embed(x) + position.mT.unflatten(-1, (4, 4))
    torch.testing.assert_close(model(latent, times(1), prepared), plain(latent, times(1), prepared))


def test_half_precision_attention_is_clamped_not_infinite() -> None:
    attention = network().blocks[0].attention.float()
    attention.out.weight.mul_(1e5).clamp_(-6e4, 6e4)
    found = attention.half()(draw(1, 4, 32).half())
    assert found.isfinite().all()
    assert found.abs().max() == 65504


@pytest.mark.parametrize(
    ("latent", "timestep", "batch", "message"),
    [
        ((1, 4, 5, 4), (1,), 1, "multiples of 2"),
        ((1, 3, 4, 4), (1,), 1, "reads (B, 4, H, W)"),
        ((4, 4, 4), (4,), 1, "(4, 4, 4)"),
        ((2, 4, 4, 4), (2,), 1, "2 latents with 1 prompts"),
        ((2, 4, 4, 4), (1,), 2, "times (1,)"),
        ((1, 4, 4, 4), (), 1, "times ()"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_a_sentence(
    latent: tuple[int, ...], timestep: tuple[int, ...], batch: int, message: str
) -> None:
    model = network(replace(TINY, patch_size=2))
    with pytest.raises(ShapeError) as caught:
        model(draw(*latent), torch.zeros(timestep), model.prepare(text_of(batch)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_text_and_wrong_guidance_are_refused() -> None:
    model, sprint = network(), network(replace(TINY, guidance_embeds=True))
    prepared, latent = model.prepare(text_of(1)), draw(1, 4, 4, 4)
    with pytest.raises(ShapeError, match="has 7 channels and this network reads 12"):
        model.prepare(TextCondition(draw(1, 5, 7), torch.ones(1, 5, dtype=torch.bool)))
    with pytest.raises(ShapeError, match="guidance"):
        model(latent, times(1), replace(prepared, guidance=torch.tensor([1.0])))
    with pytest.raises(ShapeError, match="guidance"):
        sprint(latent, times(1), prepared)
    with pytest.raises(ShapeError, match="do not belong together"):
        TextCondition(draw(1, 5, 12), torch.ones(1, 4, dtype=torch.bool))


@pytest.mark.parametrize(
    "wrong",
    [
        {"head_dim": 7},
        {"head_dim": 0},
        {"cross_head_dim": 5},
        {"hidden_size": 0},
        {"num_layers": 0},
        {"patch_size": 0},
        {"caption_channels": 0},
        {"mlp_ratio": 0.0},
        {"sample_size": 0},
        {"in_channels": -1},
        {"interpolation_scale": 0.0},
        {"interpolation_scale": float("nan")},
        {"hidden_size": 6, "head_dim": 2, "cross_head_dim": 2, "interpolation_scale": 1.0},
    ],
    ids=str,
)
def test_configs_that_cannot_work_are_refused(wrong: dict[str, int | float]) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(TINY, **wrong)
    assert "\n" not in str(caught.value)


def test_the_state_dict_is_what_checkpoints_rely_on() -> None:
    model = LinearDiT(replace(TINY, qk_norm=True, guidance_embeds=True, num_layers=1))
    assert {name: tuple(p.shape) for name, p in model.state_dict().items()} == {
        "patch_embed.weight": (32, 4, 1, 1),
        "patch_embed.bias": (32,),
        "time_embed.linear_1.weight": (32, 256),
        "time_embed.linear_1.bias": (32,),
        "time_embed.linear_2.weight": (32, 32),
        "time_embed.linear_2.bias": (32,),
        "guidance_embed.linear_1.weight": (32, 256),
        "guidance_embed.linear_1.bias": (32,),
        "guidance_embed.linear_2.weight": (32, 32),
        "guidance_embed.linear_2.bias": (32,),
        "modulation.weight": (192, 32),
        "modulation.bias": (192,),
        "caption_projection.linear_1.weight": (32, 12),
        "caption_projection.linear_1.bias": (32,),
        "caption_projection.linear_2.weight": (32, 32),
        "caption_projection.linear_2.bias": (32,),
        "caption_norm.weight": (32,),
        "blocks.0.scale_shift_table": (6, 32),
        "blocks.0.attention.qkv.weight": (96, 32),
        "blocks.0.attention.norm_q.weight": (32,),
        "blocks.0.attention.norm_k.weight": (32,),
        "blocks.0.attention.out.weight": (32, 32),
        "blocks.0.attention.out.bias": (32,),
        "blocks.0.cross_attention.q.weight": (32, 32),
        "blocks.0.cross_attention.q.bias": (32,),
        "blocks.0.cross_attention.kv.weight": (64, 32),
        "blocks.0.cross_attention.kv.bias": (64,),
        "blocks.0.cross_attention.norm_q.weight": (32,),
        "blocks.0.cross_attention.norm_k.weight": (32,),
        "blocks.0.cross_attention.out.weight": (32, 32),
        "blocks.0.cross_attention.out.bias": (32,),
        "blocks.0.mix_ffn.expand.weight": (160, 32),
        "blocks.0.mix_ffn.expand.bias": (160,),
        "blocks.0.mix_ffn.depthwise.weight": (160, 1, 3, 3),
        "blocks.0.mix_ffn.depthwise.bias": (160,),
        "blocks.0.mix_ffn.project.weight": (32, 80),
        "final_scale_shift_table": (2, 32),
        "final.weight": (4, 32),
        "final.bias": (4,),
    }
