"""LTX2Autoencoder against diffusers' AutoencoderKLLTX2Video with the same random weights, in float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video
from weights import class_arguments, randomize_, relative_error

from sanakit.checkpoints.networks.kinds import kinds_of_names
from sanakit.checkpoints.networks.ltx2 import DIFFUSERS_LTX2, LTX2, ltx2_to_json
from sanakit.models.autoencoders.ltx2 import LTX2Autoencoder, LTX2AutoencoderConfig
from sanakit.pipelines.clips.tiles import decode_in_tiles
from sanakit.pipelines.decoding.tiling import Tiling

LIMIT = 1e-5  # promised is 1e-4
IN_FILES = 5e-4  # pixels of tiles lie in files in half precision
TINY = LTX2AutoencoderConfig(
    channels=(8, 16, 32, 64), num_blocks=(1, 1, 1, 1, 1), decoder_channels=(16, 32, 64),
    decoder_num_blocks=(1, 1, 1, 1), latent_channels=8,
)  # fmt: skip


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_a_clip_there_and_back(causal: bool, note: Callable[..., None]) -> None:
    config = LTX2AutoencoderConfig(
        **{name: getattr(TINY, name) for name in TINY.__dataclass_fields__} | {"decoder_causal": causal}
    )
    theirs = AutoencoderKLLTX2Video(**class_arguments(ltx2_to_json(config))).eval()
    randomize_(theirs, 0)
    theirs.latents_std.abs_().add_(0.5)
    theirs.decoder.conv_out.conv.weight.mul_(0.1)  # so that no pixel is clamped, which ours are before tiles fade
    state = theirs.state_dict()
    assert kinds_of_names(state) == [LTX2]
    ours = LTX2Autoencoder(config).eval()
    ours.load_state_dict(DIFFUSERS_LTX2.to_ours(state))
    assert LTX2.from_json(ltx2_to_json(config)) == config
    mean, std = (each.view(1, -1, 1, 1, 1) for each in (theirs.latents_mean, theirs.latents_std))
    pixels = torch.randn(1, 3, 17, 64, 96, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    expected = (theirs.encode(pixels).latent_dist.mode() - mean) / std
    latent = torch.randn(1, 8, 8, 2, 3, generator=torch.Generator().manual_seed(2))
    decoded = theirs.decode(latent * std + mean).sample.clamp(-1, 1)
    for at_once in (1, 2, 3):  # chunks of any length are the clip as a whole
        note(relative_error(ours.encode(pixels, at_once=at_once), expected), LIMIT, "latent")
        note(relative_error(ours.decode(latent, at_once=at_once), decoded), LIMIT, "pixels")
    theirs.enable_tiling(96, 96, tile_sample_stride_height=64, tile_sample_stride_width=64)
    small = latent[:, :, :2, :, :2]
    for longer in (small.repeat(1, 1, 1, 3, 1), small.repeat(1, 1, 1, 1, 2)):
        tiled = theirs.decode(longer * std + mean).sample  # a side at a time: theirs fade twice where four tiles meet
        frames = torch.cat([*decode_in_tiles(ours, longer, Tiling(tile=96, stride=64))], dim=2)
        note(relative_error(frames, tiled), IN_FILES, "pixels of tiles")


def test_the_published_one() -> None:
    config = LTX2AutoencoderConfig()
    assert (config.compression, config.temporal_compression) == (32, 8)
    with torch.device("meta"):
        theirs = AutoencoderKLLTX2Video()
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    ours = DIFFUSERS_LTX2.from_ours(LTX2.empty(config).state_dict())
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == shapes
