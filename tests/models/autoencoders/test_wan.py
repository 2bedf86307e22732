"""What a causal autoencoder of clips must be whatever its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.networks.kinds import kinds_of_names
from sanakit.checkpoints.networks.wan import WAN
from sanakit.common.errors import ConfigError, ShapeError
from sanakit.layers.causal import ClipMemory
from sanakit.models.autoencoders.wan import WanAutoencoder, WanAutoencoderConfig

TINY = WanAutoencoderConfig(channels=(4, 8, 8, 8), num_blocks=1)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def network() -> WanAutoencoder:
    torch.manual_seed(0)
    return WanAutoencoder(TINY).double().eval().requires_grad_(False)


def test_chunks_of_any_length_are_the_whole_clip(network: WanAutoencoder) -> None:
    pixels, latent = draw(1, 3, 17, 16, 16), draw(1, 16, 5, 2, 2)
    whole = network.encode(pixels, at_once=5), network.decode(latent, at_once=5)
    assert whole[0].shape == (1, 16, 5, 2, 2)
    assert whole[1].shape == (1, 3, 17, 16, 16)
    for at_once in (1, 2):
        torch.testing.assert_close(network.encode(pixels, at_once=at_once), whole[0], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(network.decode(latent, at_once=at_once), whole[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(network.encode(pixels[:, :, :1]), whole[0][:, :, :1], rtol=1e-10, atol=1e-10)


def test_later_frames_are_not_seen(network: WanAutoencoder) -> None:
    pixels = draw(1, 3, 9, 16, 16)
    changed = pixels.clone()
    changed[:, :, 5:] = 0
    assert torch.equal(network.encode(pixels)[:, :, :2], network.encode(changed)[:, :, :2])
    latent = draw(1, 16, 3, 2, 2)
    assert torch.equal(network.decode(latent)[:, :, :5], network.decode(latent[:, :, :2]))


def test_what_is_kept_does_not_grow(network: WanAutoencoder) -> None:
    memory, sizes = ClipMemory(), []
    for seed in range(12):
        network.decode_chunk(draw(1, 16, 1, 2, 2, seed=seed), memory)
        sizes.append(memory.num_bytes)
    assert len(set(sizes[1:])) == 1


def test_what_does_not_fit_is_refused(network: WanAutoencoder) -> None:
    for pixels in (draw(1, 3, 8, 16, 16), draw(1, 3, 9, 16, 20), draw(1, 4, 9, 16, 16), draw(3, 9, 16, 16)):
        with pytest.raises(ShapeError, match="1 frame more than a multiple of 4"):
            network.encode(pixels)
    with pytest.raises(ShapeError, match=r"reads \(B, 16, T, h, w\)"):
        network.decode(draw(1, 4, 2, 2, 2))
    with pytest.raises(ConfigError, match="for the 3 steps"):
        WanAutoencoderConfig(halves_time=(True,))
    with pytest.raises(ConfigError, match="all 4 channels"):
        WanAutoencoderConfig(latent_channels=4)


@pytest.mark.parametrize("layout", ["diffusers", "upstream"])
def test_names_of_both_layouts_come_back(network: WanAutoencoder, layout: str) -> None:
    state = network.state_dict()
    foreign = WAN.layouts(TINY)[layout].from_ours(state)
    assert kinds_of_names(foreign) == [WAN]
    found = WAN.layout_of(foreign)
    assert found is not None
    plan = found.plan(foreign)
    assert not plan.unknown
    assert {name: tensor.shape for name, tensor in found.to_ours(foreign).items()} == {
        name: tensor.shape for name, tensor in state.items()
    }
    assert WAN.from_json(WAN.to_json(TINY)) == TINY


def test_the_published_one() -> None:
    config = WanAutoencoderConfig()
    shapes = WAN.shapes(config)
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 126_892_531
    assert WAN.infer(shapes, "") == config
