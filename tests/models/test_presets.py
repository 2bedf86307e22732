"""Every published size has exactly the published number of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.presets import (
    DC_AE_PRESETS,
    LINEAR_DIT_PRESETS,
    VIDEO_DIT_PRESETS,
    published_autoencoder,
    published_transformer,
)
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.models.transformers.video_dit import VideoDiT

LINEAR_DIT_COUNTS = {
    "sana-600m-512": 591_747_872,
    "sana-600m-1024": 591_747_872,
    "sana-1600m-512": 1_604_462_752,
    "sana-1600m-1024": 1_604_462_752,
    "sana-1600m-2k": 1_604_462_752,
    "sana-1600m-4k": 1_604_462_752,
    "sana1.5-1600m-1024": 1_604_641_952,
    "sana1.5-2400m-1024": 2_383_937_952,
    "sana1.5-3200m-1024": 3_163_233_952,
    "sana1.5-4800m-1024": 4_721_825_952,
    "sana-sprint-600m-1024": 593_501_216,
    "sana-sprint-1600m-1024": 1_610_237_472,
}
VIDEO_DIT_COUNTS = {
    "sana-video-2b-480p": 2_056_862_144,
    "sana-video-2b-720p": 2_057_148_928,
    "sana-video-2b-720p-dc-ae-v": 2_056_718_752,
    "longsana-2b-480p": 2_056_862_144,
}
SANA_ENCODER, SANA_DECODER = 153_027_104, 159_223_171
DC_AE_COUNTS = {  # and the statistics of batch norms
    "dc-ae-f32c32-sana-1.0": (SANA_ENCODER + SANA_DECODER, 0),
    "dc-ae-f32c32-sana-1.1": (SANA_ENCODER + SANA_DECODER, 0),
    "dc-ae-lite-f32c32-sana-1.1": (SANA_ENCODER + 268_154_124, 0),
    "dc-ae-f32c32-in-1.0": (323_356_460, 12_800),
    "dc-ae-f32c32-mix-1.0": (323_356_460, 12_800),
    "dc-ae-f64c128-in-1.0": (676_896_140, 12_800),
    "dc-ae-f64c128-mix-1.0": (676_896_140, 12_800),
    "dc-ae-f128c512-in-1.0": (1_120_682_252, 12_800),
    "dc-ae-f128c512-mix-1.0": (1_120_682_252, 12_800),
    "dc-ae-1.5-f32c128": (523_609_740, 0),
}
DC_AE_SCALING = {  # as published in their config.json
    "dc-ae-f32c32-sana-1.0": 0.41407,
    "dc-ae-f32c32-sana-1.1": 0.41407,
    "dc-ae-lite-f32c32-sana-1.1": 0.41407,
    "dc-ae-f32c32-in-1.0": 0.3189,
    "dc-ae-f32c32-mix-1.0": 0.4552,
    "dc-ae-f64c128-in-1.0": 0.2889,
    "dc-ae-f64c128-mix-1.0": 0.4538,
    "dc-ae-f128c512-in-1.0": 0.4883,
    "dc-ae-f128c512-mix-1.0": 0.3620,
    "dc-ae-1.5-f32c128": 1.0,
}
SHAPES = {  # what no count of parameters tells: latent it was trained on, scale of positions, norms, guidance embedding
    "sana-600m-512": (16, None, False, False),
    "sana-600m-1024": (32, None, False, False),
    "sana-1600m-512": (16, None, False, False),
    "sana-1600m-1024": (32, None, False, False),
    "sana-1600m-2k": (64, 1.0, False, False),
    "sana-1600m-4k": (128, 2.0, False, False),
    "sana1.5-1600m-1024": (32, None, True, False),
    "sana1.5-2400m-1024": (32, None, True, False),
    "sana1.5-3200m-1024": (32, None, True, False),
    "sana1.5-4800m-1024": (32, None, True, False),
    "sana-sprint-600m-1024": (32, None, True, True),
    "sana-sprint-1600m-1024": (32, None, True, True),
}
FLAVOURS = {  # shortcuts of both sides, activations of head and shallow decoder, kernels of the deepest attention
    "dc-ae-f32c32-sana-1.0": (True, True, "relu", "silu", (5,)),
    "dc-ae-f32c32-sana-1.1": (True, True, "relu", "silu", (5,)),
    "dc-ae-lite-f32c32-sana-1.1": (True, True, "silu", "silu", ()),
    "dc-ae-f32c32-in-1.0": (True, True, "relu", "relu", ()),
    "dc-ae-f32c32-mix-1.0": (True, True, "relu", "relu", ()),
    "dc-ae-f64c128-in-1.0": (True, True, "relu", "relu", ()),
    "dc-ae-f64c128-mix-1.0": (True, True, "relu", "relu", ()),
    "dc-ae-f128c512-in-1.0": (True, True, "relu", "relu", ()),
    "dc-ae-f128c512-mix-1.0": (True, True, "relu", "relu", ()),
    "dc-ae-1.5-f32c128": (False, False, "silu", "silu", ()),
}
PER_BLOCK = {"sana-600m-1024": 20_646_144, "sana-1600m-1024": 77_920_640, "sana1.5-1600m-1024": 77_929_600}


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_no_preset_is_left_uncounted() -> None:
    assert LINEAR_DIT_PRESETS.keys() == LINEAR_DIT_COUNTS.keys()
    assert DC_AE_PRESETS.keys() == DC_AE_COUNTS.keys()


def test_scaling_factors_are_the_published_ones() -> None:
    assert {name: config.scaling_factor for name, config in DC_AE_PRESETS.items()} == DC_AE_SCALING


def test_what_counts_do_not_tell_is_as_published() -> None:
    assert {
        name: (each.sample_size, each.interpolation_scale, each.qk_norm, each.guidance_embeds)
        for name, each in LINEAR_DIT_PRESETS.items()
    } == SHAPES
    assert {
        (each.head_dim, each.patch_size, each.guidance_scale_factor, each.attention_eps, each.qk_norm_eps)
        for each in LINEAR_DIT_PRESETS.values()
    } == {(32, 1, 0.1, 1e-15, 1e-5)}
    assert all(each.timestep_scale == (0.001 if each.guidance_embeds else 1.0) for each in LINEAR_DIT_PRESETS.values())
    assert {name: each.cross_head_dim for name, each in LINEAR_DIT_PRESETS.items()} == {
        name: 72 if "600m-" in name and "1600m" not in name else 112 for name in SHAPES
    }
    assert {
        name: (
            each.encoder_shortcut, each.decoder_shortcut, each.head_activation, each.decoder[1].activation,
            each.decoder[-1].scales,
        ) for name, each in DC_AE_PRESETS.items()
    } == FLAVOURS  # fmt: skip
    assert {each.head_dim for each in DC_AE_PRESETS.values()} == {32}


@pytest.mark.parametrize("name", LINEAR_DIT_PRESETS)
def test_transformers(name: str) -> None:
    with torch.device("meta"):
        model = LinearDiT(LINEAR_DIT_PRESETS[name])
    assert num_parameters(model) == LINEAR_DIT_COUNTS[name]
    assert not list(model.buffers())
    if name in PER_BLOCK:
        assert num_parameters(model.blocks[0]) == PER_BLOCK[name]


@pytest.mark.parametrize("name", DC_AE_PRESETS)
def test_autoencoders(name: str) -> None:
    with torch.device("meta"):
        model = DCAutoencoder(DC_AE_PRESETS[name])
    statistics = sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    assert (num_parameters(model), statistics) == DC_AE_COUNTS[name]
    if "sana" in name:
        assert num_parameters(model.encoder) == SANA_ENCODER


@pytest.mark.parametrize(
    ("name", "side"), [("f32c32-in", 32), ("f64c128-in", 64), ("f128c512-in", 128), ("lite-f32", 32)]
)
def test_compression_is_the_name(name: str, side: int) -> None:
    (config,) = (config for preset, config in DC_AE_PRESETS.items() if name in preset)
    assert config.compression == side


@pytest.mark.parametrize(
    ("hub_id", "preset"),
    [
        ("Efficient-Large-Model/Sana_600M_512px_diffusers", "sana-600m-512"),
        ("Efficient-Large-Model/Sana_1600M_1024px_BF16", "sana-1600m-1024"),
        ("Efficient-Large-Model/Sana_1600M_2Kpx_BF16_diffusers", "sana-1600m-2k"),
        ("Efficient-Large-Model/Sana_1600M_4Kpx_BF16_diffusers", "sana-1600m-4k"),
        ("Efficient-Large-Model/SANA1.5_1.6B_1024px_diffusers", "sana1.5-1600m-1024"),
        ("Efficient-Large-Model/SANA1.5_4.8B_1024px", "sana1.5-4800m-1024"),
        ("Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers", "sana-sprint-600m-1024"),
    ],
)
def test_published_transformers_by_name(hub_id: str, preset: str) -> None:
    assert published_transformer(hub_id) == LINEAR_DIT_PRESETS[preset]


def test_published_autoencoders_by_name() -> None:
    for name, config in DC_AE_PRESETS.items():
        assert published_autoencoder(f"mit-han-lab/{name}-diffusers") == config
        assert published_autoencoder(name) == config


@pytest.mark.parametrize("name", ["starter", "runs/mine/model", "Sana_1600M_8Kpx", "sana"])
def test_other_names_are_not_published(name: str) -> None:
    assert published_transformer(name) is None
    assert published_autoencoder(name) is None


@pytest.mark.parametrize("name", VIDEO_DIT_PRESETS)
def test_video_transformers_have_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = VideoDiT(VIDEO_DIT_PRESETS[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == VIDEO_DIT_COUNTS[name]
    assert sum(parameter.numel() for parameter in model.blocks[0].parameters()) == 100_533_440
