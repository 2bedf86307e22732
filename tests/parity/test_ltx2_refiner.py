"""What refines clips against diffusers' LTX-2: transformer (its half of pictures), connectors, upsampler of latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from weights import class_arguments, randomize_, relative_error

from sanakit.checkpoints.networks.kinds import kinds_of_names
from sanakit.checkpoints.networks.refiner.latent_upsampler import LATENT_UPSAMPLER
from sanakit.checkpoints.networks.refiner.ltx2_connectors import LTX2_CONNECTORS
from sanakit.checkpoints.networks.refiner.ltx2_video import LTX2_VIDEO
from sanakit.models.latent_upsampler import LatentUpsamplerConfig
from sanakit.models.text.ltx2_connectors import LTX2ConnectorsConfig
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.ltx2_video import LTX2VideoConfig

LIMIT = 1e-5  # promised is 1e-4
TINY = LTX2VideoConfig(hidden_size=64, num_layers=2, head_dim=16, in_channels=8, caption_channels=24)
CONFIGS = {
    "partners half a head away": TINY,
    "partners side by side": replace(TINY, rope_halves=False),
    "heads of 10 channels": replace(TINY, hidden_size=40, head_dim=10, reach=(4, 8, 8)),
}


def pair(kind: Any, theirs: Any) -> Any:
    """Ours with the same weights."""
    randomize_(theirs, 0)
    state = theirs.eval().state_dict()
    assert kinds_of_names(state) == [kind]
    config = kind.from_json({**theirs.config, "_class_name": kind.class_name})
    plan = kind.layout_of(state).plan(state)
    assert not plan.unknown
    assert not plan.missing
    ours = kind.build(config).eval().requires_grad_(False)
    ours.load_state_dict(kind.layout_of(state).to_ours(state))
    assert kind.from_json(kind.to_json(config)) == config
    return ours


@pytest.mark.parametrize("given", [False, True], ids=["all frames alike", "a first frame that is given"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.no_grad()
def test_velocity(config: LTX2VideoConfig, given: bool, note: Callable[..., None]) -> None:
    compare(config, given, note)


@pytest.mark.slow
@torch.no_grad()
def test_velocity_at_real_width(note: Callable[..., None]) -> None:
    compare(LTX2VideoConfig(num_layers=1), True, note)


def compare(config: LTX2VideoConfig, given: bool, note: Callable[..., None]) -> None:
    """Theirs takes the sink as a mask of all tokens with all; ours says which frame is clean."""
    heads = config.hidden_size // config.head_dim
    sound = {"num_attention_heads": heads, "attention_head_dim": 4, "cross_attention_dim": 4 * heads}
    arguments = class_arguments(LTX2_VIDEO.to_json(config)) | {f"audio_{name}": each for name, each in sound.items()}
    theirs = LTX2VideoTransformer3DModel(**arguments)
    ours = pair(LTX2_VIDEO, theirs)
    generator = torch.Generator().manual_seed(7)
    rows, frames, height, width = (1 if config.num_layers == 1 else 2), 3, 2, 3
    latent = torch.randn(rows, config.in_channels, frames, height, width, generator=generator)
    text = torch.randn(rows, 5, config.caption_channels, generator=generator)
    times, size, tokens = torch.tensor([909.375, 421.875])[:rows], height * width, frames * height * width
    of_tokens = times[:, None].repeat(1, tokens)
    sees = torch.ones(rows, tokens, tokens)
    condition = ours.prepare(TextCondition(text, torch.ones(rows, 5, dtype=torch.bool))).with_fps(16.0)
    if given:
        of_tokens[:, :size], sees[:, :size, size:] = 0, 0
        condition = condition.with_clean(frames)
    expected = theirs(
        latent.flatten(2).mT, torch.zeros(rows, 4, 128), text, torch.zeros(rows, 4, config.caption_channels),
        timestep=of_tokens, audio_timestep=times, sigma=times, num_frames=frames, height=height, width=width, fps=16.0,
        audio_num_frames=4, isolate_modalities=True, video_self_attention_mask=sees, return_dict=False,
        encoder_attention_mask=torch.ones(rows, 5), audio_encoder_attention_mask=torch.ones(rows, 4),
    )[0]  # fmt: skip
    note(relative_error(ours(latent, times, condition).flatten(2).mT, expected), LIMIT)


@pytest.mark.parametrize("halves", [True, False])
@torch.no_grad()
def test_connectors(halves: bool, note: Callable[..., None]) -> None:
    config = LTX2ConnectorsConfig(
        caption_channels=24, num_states=3, head_dim=8, num_registers=16, trained_on=32, rope_halves=halves
    )
    sound = {"audio_connector_num_attention_heads": 3, "audio_connector_attention_head_dim": 8}
    theirs = LTX2TextConnectors(**{**class_arguments(LTX2_CONNECTORS.to_json(config)), **sound})
    ours = pair(LTX2_CONNECTORS, theirs)
    assert ours.config == config
    states = torch.randn(1, 7, 24, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 20.0, 300.0])
    padded = torch.cat([torch.full((1, 1017, 24, 3), 5.0), states], dim=1)
    expected, _, seen = theirs(padded, (torch.arange(1024) >= 1017)[None].long())
    assert seen.all()
    found = ours(states)
    assert found.mask.all()
    note(relative_error(found.embeds, expected), LIMIT)


@pytest.mark.parametrize("rational", [True, False])
@torch.no_grad()
def test_upsampler(rational: bool, note: Callable[..., None]) -> None:
    config = LatentUpsamplerConfig(in_channels=8, hidden_channels=32, num_blocks=1)
    arguments = class_arguments(LATENT_UPSAMPLER.to_json(config)) | {"use_rational_resampler": rational}
    theirs = LTX2LatentUpsamplerModel(**arguments)
    ours = pair(LATENT_UPSAMPLER, theirs)
    latent = torch.randn(1, 8, 3, 2, 3, generator=torch.Generator().manual_seed(1))
    note(relative_error(ours(latent), theirs(latent)), LIMIT)


def test_the_published_ones() -> None:
    """The same tensors as theirs without the half of sound."""
    for kind, build, theirs, parameters in (
        (LTX2_VIDEO, LTX2VideoConfig(), LTX2VideoTransformer3DModel, 13_041_520_768),
        (LTX2_CONNECTORS, LTX2ConnectorsConfig(), LTX2TextConnectors, 1_077_004_800),
        (LATENT_UPSAMPLER, LatentUpsamplerConfig(), LTX2LatentUpsamplerModel, 497_867_904),
    ):
        assert sum(parameter.numel() for parameter in kind.empty(build).parameters()) == parameters
        with torch.device("meta"):
            state = theirs().state_dict()
        layout = kind.layout_of(state)
        plan = layout.plan(state)
        wanted = {name: tuple(tensor.shape) for name, tensor in state.items() if name not in plan.dropped}
        ours = layout.from_ours(kind.empty(build).state_dict())
        assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == wanted
