"""The two towers: shapes, unit vectors, padding without influence, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.dual_encoder import DualEncoder, DualEncoderConfig, EncoderBlock, Tower
from sanakit.models.text.text_condition import TextCondition

CONFIG = DualEncoderConfig(
    picture_channels=10, num_patches=4, text_channels=6, hidden_size=16, head_dim=8, embed_size=5,
    num_text_positions=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(CONFIG).double().eval().requires_grad_(False)


def inputs(batch: int = 3, length: int = 4) -> tuple[torch.Tensor, TextCondition]:
    g = torch.Generator().manual_seed(1)
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 2:] = False
    embeds = torch.randn(batch, length, 6, generator=g, dtype=torch.float64)
    return torch.randn(batch, 4, 10, generator=g, dtype=torch.float64), TextCondition(embeds, mask)


def test_vectors_have_length_one_and_logits_are_of_all_pairs(model: DualEncoder) -> None:
    patches, text = inputs()
    pictures, texts = model.encode_pictures(patches), model.encode_texts(text)
    assert pictures.shape == texts.shape == (3, 5)
    torch.testing.assert_close(pictures.norm(dim=-1), torch.ones(3, dtype=torch.float64))
    logits = model(patches, text)
    for i in range(3):
        for j in range(3):
            expected = 10 * float(pictures[i] @ texts[j]) - 5
            assert float(logits[i, j]) == pytest.approx(expected, abs=1e-6)  # the scale begins as a float32
    torch.testing.assert_close(logits.diagonal(), model.logits(pictures, texts))


def test_padding_has_no_influence(model: DualEncoder) -> None:
    _, text = inputs()
    loud = text.embeds.clone()
    loud[1, 2:] = 1e3
    torch.testing.assert_close(model.encode_texts(TextCondition(loud, text.mask)), model.encode_texts(text))
    alone = TextCondition(text.embeds[1:2, :2], text.mask[1:2, :2])
    torch.testing.assert_close(model.encode_texts(alone)[0], model.encode_texts(text)[1])


def test_places_of_patches_matter(model: DualEncoder) -> None:
    patches, _ = inputs()
    assert not torch.allclose(model.encode_pictures(patches), model.encode_pictures(patches.flip(1)), atol=1e-3)


def test_the_order_of_words_matters_beyond_the_last_position_too(model: DualEncoder) -> None:
    _, text = inputs(length=8)
    for first, second in ((0, 1), (2, 3)):
        swapped = text.embeds.clone()
        swapped[:, [first, second]] = text.embeds[:, [second, first]]
        other = TextCondition(swapped, text.mask)
        assert not torch.allclose(model.encode_texts(other)[0], model.encode_texts(text)[0], atol=1e-4)
    beyond = text.embeds.clone()
    beyond[:, [6, 7]] = text.embeds[:, [7, 6]]  # six positions: both have the last
    torch.testing.assert_close(model.encode_texts(TextCondition(beyond, text.mask)), model.encode_texts(text))


def test_features_are_standardised() -> None:
    torch.manual_seed(0)
    plain, scaled = DualEncoder(CONFIG), DualEncoder(CONFIG)
    scaled.load_state_dict(plain.state_dict())
    scaled.picture.mean.fill_(3.0)
    scaled.picture.std.fill_(2.0)
    patches = torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(scaled.encode_pictures(2 * patches + 3), plain.encode_pictures(patches))


def test_wrong_inputs_are_refused(model: DualEncoder) -> None:
    with pytest.raises(ShapeError, match="patches"):
        model.encode_pictures(torch.zeros(2, 5, 10))
    with pytest.raises(ShapeError, match="reads 6"):
        model.encode_texts(TextCondition(torch.zeros(1, 2, 7), torch.ones(1, 2, dtype=torch.bool)))
    with pytest.raises(ConfigError, match="head_dim"):
        DualEncoderConfig(picture_channels=1, num_patches=1, text_channels=1, hidden_size=10, head_dim=4)
    with pytest.raises(ConfigError, match="num_patches"):
        DualEncoderConfig(picture_channels=1, num_patches=0, text_channels=1)


def test_several_queries_share_the_vector() -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, embed_size=6, num_queries=3)
    model = DualEncoder(config).double().eval().requires_grad_(False)
    patches, text = inputs()
    pictures, texts = model.encode_pictures(patches), model.encode_texts(text)
    assert pictures.shape == texts.shape == (3, 6)
    torch.testing.assert_close(pictures.norm(dim=-1), torch.ones(3, dtype=torch.float64))
    assert not torch.allclose(pictures[:, :2], pictures[:, 2:4])
    alone = TextCondition(text.embeds[1:2, :2], text.mask[1:2, :2])
    torch.testing.assert_close(model.encode_texts(alone)[0], texts[1])
    with pytest.raises(ConfigError, match="num_queries=4"):
        replace(CONFIG, embed_size=6, num_queries=4)


def test_large_batches_give_the_vectors_of_single_texts(model: DualEncoder) -> None:
    g = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 9, (40,), generator=g)
    mask = torch.arange(8) < lengths[:, None]
    embeds = torch.randn(40, 8, 6, generator=g, dtype=torch.float64)
    together = model.encode_texts(TextCondition(embeds, mask))
    alone = [model.encode_texts(TextCondition(embeds[i : i + 1], mask[i : i + 1])) for i in range(40)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_sizes_that_are_left_out() -> None:
    config = DualEncoderConfig(picture_channels=1, num_patches=1, text_channels=1)
    assert (config.hidden_size, config.head_dim, config.mlp_ratio, config.embed_size) == (192, 32, 2.0, 192)
    assert (config.num_picture_layers, config.num_text_layers, config.num_queries) == (2, 2, 1)
    assert (config.num_text_positions, config.num_language_layers) == (64, None)
    for name in ("picture_channels", "text_channels", "embed_size", "num_queries"):
        with pytest.raises(ConfigError, match=f"{name}=0 must be at least 1"):
            replace(config, **{name: 0})


@pytest.mark.parametrize("masked", [False, True])
def test_a_block_is_attention_and_an_mlp_head_by_head(masked: bool) -> None:
    torch.manual_seed(1)
    config = replace(CONFIG, mlp_ratio=1.5)
    block = EncoderBlock(config).double().requires_grad_(False)
    x, mask = torch.randn(2, 5, 16, dtype=torch.float64), torch.tensor([[True] * 5, [True, True, True, False, False]])
    q, k, v = (block.norm_attention(x) @ w.T + b for w, b in zip(
        block.qkv.weight.split(16), block.qkv.bias.split(16), strict=True
    ))  # fmt: skip
    heads = []
    for head in (slice(0, 8), slice(8, 16)):
        scores = q[..., head] @ k[..., head].mT / 8**0.5
        scores = scores.masked_fill(~mask[:, None], -torch.inf) if masked else scores
        heads.append(scores.softmax(-1) @ v[..., head])
    y = x + block.proj(torch.cat(heads, -1))
    inner = block.up(block.norm_mlp(y))
    assert inner.shape[-1] == 24
    gelu = 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    torch.testing.assert_close(block(x, mask if masked else None), y + block.down(gelu))


def test_a_tower_begins_with_quiet_positions_and_one_query_or_several_that_differ() -> None:
    config = replace(CONFIG, hidden_size=512, embed_size=6)
    torch.manual_seed(0)
    one = Tower(config, 4, 1, 50).requires_grad_(False)
    three = Tower(replace(config, num_queries=3), 4, 1, 0).requires_grad_(False)
    assert (one.query.shape, three.query.shape) == ((1, 1, 512), (1, 3, 512))
    assert float(one.query.std()) == pytest.approx(0.02, rel=0.1)
    assert float(three.query.std()) == pytest.approx(0.5, rel=0.1)
    assert one.positions is not None
    assert float(one.positions.std()) == pytest.approx(0.02, rel=0.1)
    assert three.positions is None
    assert (one.mean.tolist(), one.std.tolist()) == ([0.0] * 4, [1.0] * 4)
    assert three(torch.randn(2, 7, 4)).shape == (2, 6)  # any length, and in any order
    features = torch.randn(1, 7, 4)
    torch.testing.assert_close(three(features), three(features.flip(1)))


def test_towers_have_the_layers_and_the_positions_of_their_side() -> None:
    model = DualEncoder(replace(CONFIG, num_picture_layers=1, num_text_layers=3))
    assert (len(model.picture.blocks), len(model.text.blocks)) == (1, 3)
    assert (len(model.picture.positions), len(model.text.positions)) == (4, 6)
    assert (float(model.log_scale.exp()), float(model.bias)) == (pytest.approx(10), -5)
    for wrong in (torch.zeros(2, 4, 9), torch.zeros(4, 10), torch.zeros(1, 2, 4, 10)):
        with pytest.raises(ShapeError, match=r"are not \(B, 4, 10\)"):
            model.encode_pictures(wrong)
