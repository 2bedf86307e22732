"""Names of every layout: exact round trips on small tensors, every published size by name on the meta device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.networks.dc_ae import DIFFUSERS_DC_AE, OriginalSpelling, find_dc_ae_layout, original_dc_ae
from sanakit.checkpoints.networks.key_maps import Drop, Fuse, KeyMap, Pointwise, Rename
from sanakit.checkpoints.networks.kinds import kinds_of_names
from sanakit.checkpoints.networks.linear_dit import UPSTREAM_LINEAR_DIT, diffusers_linear_dit, find_linear_dit_layout
from sanakit.checkpoints.networks.video_dit import VIDEO_DIT, find_video_dit_layout
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS, VIDEO_DIT_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiT, VideoDiTConfig

TINY = LinearDiTConfig(
    hidden_size=64, num_layers=2, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=24
)  # fmt: skip
LINEAR_DITS = {
    "v1": TINY,
    "2k": replace(TINY, interpolation_scale=1.0),
    "v1.5": replace(TINY, qk_norm=True),
    "sprint": replace(TINY, qk_norm=True, guidance_embeds=True),
    "patch 2": replace(TINY, patch_size=2),
}
WIDTHS = (8, 8, 32, 32)
SMALL = DCAutoencoderConfig(
    encoder=stages(WIDTHS, (1, 1, 1, 2)), decoder=stages(WIDTHS, (1, 2, 1, 1)), latent_channels=4
)  # fmt: skip
IMAGENET = DCAutoencoderConfig(
    encoder=stages(WIDTHS, (0, 1, 1, 1), scales=()),
    decoder=stages(WIDTHS, (0, 1, 1, 1), scales=(), shallow_norm="batch", shallow_activation="relu"),
    latent_channels=4,
    down="pixel_unshuffle",
    up="pixel_shuffle",
)
AUTOENCODERS = {
    "sana": SMALL,
    "lite": replace(SMALL, decoder=stages(WIDTHS, (0, 1, 1, 1), num_res=4), up="pixel_shuffle"),
    "in": IMAGENET,
    "1.5": replace(IMAGENET, encoder_shortcut=False, decoder_shortcut=False),
    "two scales": replace(SMALL, encoder=stages(WIDTHS, (1, 1, 1, 1), scales=(3, 5))),
}


def random_state(model: torch.nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(tensor.shape, generator=generator).to(tensor.dtype) if tensor.ndim else torch.tensor(7)
        for name, tensor in model.state_dict().items()
    }


def assert_same_bytes(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def linear_dit_layouts(config: LinearDiTConfig) -> list[KeyMap]:
    return [diffusers_linear_dit(guidance_embeds=config.guidance_embeds), UPSTREAM_LINEAR_DIT]


def dc_ae_layouts(config: DCAutoencoderConfig) -> list[KeyMap]:
    return [DIFFUSERS_DC_AE, original_dc_ae(OriginalSpelling.of(config))]


@pytest.mark.parametrize("index", [0, 1], ids=["diffusers", "upstream"])
@pytest.mark.parametrize("config", LINEAR_DITS.values(), ids=LINEAR_DITS.keys())
def test_a_transformer_comes_back_byte_for_byte(config: LinearDiTConfig, index: int) -> None:
    state = random_state(LinearDiT(config))
    foreign = linear_dit_layouts(config)[index].from_ours(state)
    found = find_linear_dit_layout(foreign)
    assert found is not None
    assert not found.plan(foreign).unknown
    assert_same_bytes(found.to_ours(foreign), state)
    assert_same_bytes(found.from_ours(found.to_ours(foreign)), foreign)


@pytest.mark.parametrize("index", [0, 1], ids=["diffusers", "original"])
@pytest.mark.parametrize("config", AUTOENCODERS.values(), ids=AUTOENCODERS.keys())
def test_an_autoencoder_comes_back_byte_for_byte(config: DCAutoencoderConfig, index: int) -> None:
    state = random_state(DCAutoencoder(config))
    foreign = dc_ae_layouts(config)[index].from_ours(state)
    found = find_dc_ae_layout(foreign)
    assert found is not None
    assert not found.plan(foreign).unknown
    assert_same_bytes(found.to_ours(foreign), state)
    assert_same_bytes(found.from_ours(found.to_ours(foreign)), foreign)


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", LINEAR_DIT_PRESETS)
def test_every_published_transformer_has_a_name_in_every_layout(name: str) -> None:
    config = LINEAR_DIT_PRESETS[name]
    with torch.device("meta"):
        state = LinearDiT(config).state_dict()
    for layout in linear_dit_layouts(config):
        foreign = layout.from_ours(state)
        assert shapes(layout.to_ours(foreign)) == shapes(state)


@pytest.mark.parametrize("name", DC_AE_PRESETS)
def test_every_published_autoencoder_has_a_name_in_every_layout(name: str) -> None:
    config = DC_AE_PRESETS[name]
    with torch.device("meta"):
        state = DCAutoencoder(config).state_dict()
    for layout in dc_ae_layouts(config):
        foreign = layout.from_ours(state)
        assert shapes(layout.to_ours(foreign)) == shapes(state)


def test_buffers_that_are_computed_are_dropped_and_said_so() -> None:
    names = ["pos_embed", "y_embedder.y_embedding", "logvar_linear.weight", "x_embedder.proj.bias"]
    plan = UPSTREAM_LINEAR_DIT.plan(names)
    assert set(plan.dropped) == set(names[:3])
    assert "empty prompt" in plan.dropped["y_embedder.y_embedding"]
    assert list(plan.origins) == ["patch_embed.bias"]


def test_a_plan_tells_strangers_and_missing_neighbours() -> None:
    plan = diffusers_linear_dit(guidance_embeds=False).plan(
        ["transformer_blocks.0.attn1.to_q.weight", "transformer_blocks.0.attn1.to_v.weight", "stranger.weight"]
    )
    assert plan.unknown == ("stranger.weight",)
    assert plan.missing == ("transformer_blocks.0.attn1.to_k.weight",)


def test_rows_of_a_table_are_read_in_both_directions() -> None:
    layout = KeyMap(
        layout="toy",
        rows=(
            Rename("a.{n}.{leaf}", "x.{n}.y.{leaf}"),
            Fuse("kv", ("k", "v")),
            Pointwise("mix.{leaf}", "conv.{leaf}"),
            Drop("cache", "it is computed"),
        ),
    )
    ours = {"a.12.weight": torch.ones(2), "kv": torch.arange(6.0).view(6, 1)}
    ours |= {"mix.weight": torch.eye(2), "mix.bias": torch.ones(2)}
    theirs = layout.from_ours(ours)
    assert theirs.keys() == {"x.12.y.weight", "k", "v", "conv.weight", "conv.bias"}
    assert theirs["conv.weight"].shape == (2, 2, 1, 1)
    assert theirs["v"].flatten().tolist() == [3.0, 4.0, 5.0]
    assert_same_bytes(layout.to_ours(theirs), ours)
    with pytest.raises(KeyError, match=r"nothing\.like\.it has no place in the toy layout"):
        layout.from_ours({"nothing.like.it": torch.ones(1)})


@pytest.mark.parametrize("layout", ["diffusers", "upstream"])
@pytest.mark.parametrize("name", VIDEO_DIT_PRESETS)
def test_a_video_transformer_is_told_by_its_names_and_shapes_in_both_layouts(name: str, layout: str) -> None:
    config = VIDEO_DIT_PRESETS[name]
    state = VIDEO_DIT.empty(config).state_dict()
    foreign = VIDEO_DIT.layouts(config)[layout].from_ours(state)
    assert kinds_of_names(foreign) == [VIDEO_DIT]
    found = find_video_dit_layout(foreign)
    assert found is not None
    assert not found.plan(foreign).unknown
    assert shapes(found.to_ours(foreign)) == shapes(state)
    assert VIDEO_DIT.infer(shapes(state), f"SANA_Video_2B_{'480p' if '480p' in name else '720p'}.pth") == config
    assert VIDEO_DIT.from_json(VIDEO_DIT.to_json(config)) == config


@torch.no_grad()
@pytest.mark.parametrize("layout", ["diffusers", "upstream"])
def test_a_video_transformer_comes_back_byte_for_byte(layout: str) -> None:
    config = VideoDiTConfig(
        hidden_size=48, num_layers=2, cross_head_dim=12, attention=TurnedLinearAttention(head_dim=24),
        in_channels=4, out_channels=4, caption_channels=24,
    )  # fmt: skip
    state = random_state(VideoDiT(config))
    foreign = VIDEO_DIT.layouts(config)[layout].from_ours(state)
    found = find_video_dit_layout(foreign)
    assert found is not None
    assert_same_bytes(found.to_ours(foreign), state)
    assert_same_bytes(found.from_ours(found.to_ours(foreign)), foreign)
