"""The estimate of decoding memory against what tensors really take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.compact_upscaler import CompactUpscaler, CompactUpscalerConfig
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.pipelines.decoding.memory import (
    OWN_BYTES,
    UPSCALING_TILE,
    ModelSize,
    denoising_bytes,
    measured_free_memory,
    transformer_parameters,
    upscaling_bytes,
)
from sanakit.pipelines.decoding.tiling import Tiling
from sanakit.pipelines.decoding.trial import PeakMemory


def measured_decoding(config: DCAutoencoderConfig, side: int, dtype: torch.dtype) -> PeakMemory:
    """On the meta device: exact shapes, no numbers."""
    with torch.device("meta"):
        model = DCAutoencoder(config).to(dtype)
        latent = torch.empty(
            1, config.latent_channels, side // config.compression, side // config.compression, dtype=dtype
        )
    with torch.no_grad(), PeakMemory(model) as memory:
        model.decode(latent)
    return memory


def measured_step(config: LinearDiTConfig, side: int, dtype: torch.dtype) -> PeakMemory:
    """One row of a step on the meta device."""
    with torch.device("meta"):
        model = LinearDiT(config).to(dtype)
        text = TextCondition(torch.empty(1, 20, config.caption_channels), torch.ones(1, 20, dtype=torch.bool))
        latent, timestep = torch.empty(1, config.in_channels, side, side, dtype=dtype), torch.empty(1)
    with torch.no_grad():
        condition = model.prepare(text)
        with PeakMemory(model) as memory:
            model(latent, timestep, condition)
    return memory


def small(channels: tuple[int, ...], num_res: int = 3) -> DCAutoencoderConfig:
    shape = stages(channels, (1,) * len(channels), num_res=num_res)
    return DCAutoencoderConfig(encoder=shape, decoder=shape, latent_channels=16)


CONFIGS = {
    "residual": small((64, 64)),
    "wide and deep": small((64, 256)),
    "attention below": small((32, 128), num_res=1),
    "sana": DC_AE_PRESETS["dc-ae-f32c32-sana-1.0"],
    "lite": DC_AE_PRESETS["dc-ae-lite-f32c32-sana-1.1"],
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_is_above_the_tensors_and_not_far(name: str, dtype: torch.dtype) -> None:
    memory = measured_decoding(CONFIGS[name], 512, dtype)
    ratio = CONFIGS[name].decode_bytes(512, 512) / memory.peak
    print(f"{name} {dtype}: estimate / tensors = {ratio:.2f}")
    assert 1.0 < ratio < 4.0
    assert CONFIGS[name].largest_tensor(512, 512) == memory.longest


def test_sana_at_1024_and_4096() -> None:
    config = CONFIGS["sana"]
    assert config.decode_bytes(4096, 4096) == 16 * config.decode_bytes(1024, 1024)
    assert 2e9 < config.decode_bytes(1024, 1024) < 6e9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["sana-600m-1024", "sana-1600m-4k"])
def test_a_step_takes_a_little_less_than_the_estimate(name: str, dtype: torch.dtype) -> None:
    config = replace(LINEAR_DIT_PRESETS[name], num_layers=2)
    measured = measured_step(config, 32, dtype).peak
    assert 1.0 < denoising_bytes(config, (32, 32), dtype) / measured < 1.5


def test_parameters_are_counted_from_the_config() -> None:
    config = replace(LINEAR_DIT_PRESETS["sana1.5-1600m-1024"], num_layers=5)
    with torch.device("meta"):
        assert transformer_parameters(config) == sum(p.numel() for p in LinearDiT(config).parameters())
    assert transformer_parameters(LINEAR_DIT_PRESETS["sana1.5-4800m-1024"]) == 4_721_825_952


def test_a_picture_takes_its_weights_and_the_larger_of_its_two_moments() -> None:
    size = ModelSize(
        transformer=LINEAR_DIT_PRESETS["sana-600m-1024"],
        autoencoder=CONFIGS["sana"],
        weights={"transformer": 10, "autoencoder": 5},
        dtype=torch.bfloat16,
    )
    whole, tiled = size.picture(4096, 4096), size.picture(4096, 4096, tiling=Tiling(tile=512, stride=448))
    assert whole.total == 15 + CONFIGS["sana"].decode_bytes(4096, 4096) + OWN_BYTES
    assert tiled.decoding < whole.decoding / 10
    assert tiled.denoising == 2 * denoising_bytes(size.transformer, (128, 128), torch.bfloat16)
    assert size.picture(4096, 4096, rows=16).denoising == 8 * whole.denoising
    enlarged = size.picture(4096, 4096, tiling=Tiling(tile=512, stride=448), upscale=2)
    assert enlarged.upscaling == upscaling_bytes(4096, 4096, 2) > 12 * 8192**2
    assert whole.upscaling == 0


def test_enlarging_takes_less_than_the_estimate_and_not_much_less() -> None:
    network = CompactUpscaler(CompactUpscalerConfig()).eval()
    side = UPSCALING_TILE // 4  # the layers of one tile are all that counts
    with PeakMemory(network) as memory, torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    estimate = upscaling_bytes(side, side, 4)
    assert memory.peak < estimate < 4 * memory.peak


def test_nobody_knows_the_memory_of_some_devices() -> None:
    assert measured_free_memory(torch.device("meta")) is None
    assert measured_free_memory(torch.device("cpu")) is None or measured_free_memory(torch.device("cpu")) > 0


def test_what_torch_keeps_for_itself_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"mem_get_info": (100, 1000), "memory_reserved": 70, "memory_allocated": 30}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert measured_free_memory(torch.device("cuda")) == 100 + 70 - 30
