"""Networks of clips in the recipe of transformers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sanakit
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.dc_ae import DC_CLIP_AE
from sanakit.common.errors import ConfigError
from sanakit.common.seeds import draw_clip_noise, draw_noise
from sanakit.models.autoencoders.dc_ae_clips import TimeConfig, clips_of_pictures
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiT, VideoDiTConfig
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, flow_matching_loss
from sanakit.training.recipes.recipe import build_recipe
from sanakit.training.recipes.train import train
from sanakit.training.recipes.transformer.initialization import initialize_
from sanakit.training.recipes.transformer.networks import begin_as_pictures_, draw_given_frames
from sanakit.training.recipes.transformer.plan import network_shape


def test_given_frames_have_no_noise_and_no_part_in_the_loss() -> None:
    latent = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    clean = torch.zeros(2, 4, dtype=torch.bool)
    clean[0, 0] = True

    def velocity(noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        assert torch.equal(noisy[0, :, 0], latent[0, :, 0])
        assert not torch.equal(noisy[1, :, 0], latent[1, :, 0])
        return torch.zeros_like(noisy)

    draw, config = torch.Generator().manual_seed(0), FlowMatchingConfig()
    found = flow_matching_loss(velocity, latent, draw, config=config, clean=clean)
    again = torch.Generator().manual_seed(0)
    torch.randn(2, generator=again)  # the noise levels
    wanted = (torch.randn(latent.shape, generator=again) - latent).square()
    expected = torch.stack([wanted[0, :, 1:].mean(), wanted[1].mean()])
    torch.testing.assert_close(found["per_sample"], expected.float(), check_dtype=False)


def test_frames_share_as_much_of_their_noise_as_is_said_in_training_and_drawing() -> None:
    latent, drawn = torch.zeros(64, 4, 5, 8, 8), draw_clip_noise((64, 5, 16, 16), 3, 0.25)
    seen: list[torch.Tensor] = []

    def velocity(noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        seen.append(noisy / timestep.view(-1, 1, 1, 1, 1) * 1000)
        return torch.zeros_like(noisy)

    config = FlowMatchingConfig(shared_noise=0.25, num_levels=None)
    flow_matching_loss(velocity, latent, torch.Generator().manual_seed(0), config=config)
    for noise, axis in ((seen[0], 2), (drawn, 1)):
        first, last = noise.select(axis, 0).flatten(), noise.select(axis, 4).flatten()
        assert abs(float((first * last).mean()) - 0.25) < 0.03
        assert abs(float(noise.var()) - 1) < 0.03
    assert torch.equal(draw_clip_noise((4, 3, 2, 2), 7), draw_noise((4, 3, 2, 2), 7))
    with pytest.raises(ConfigError, match=r"shared_noise=1\.0"):
        FlowMatchingConfig(shared_noise=1.0)


def test_a_share_of_clips_has_its_first_frame_given_and_pictures_none() -> None:
    draw = torch.Generator().manual_seed(0)
    clean = draw_given_frames(torch.zeros(400, 1, 3, 1, 1), draw, 0.25)
    assert clean is not None
    assert not clean[:, 1:].any()
    assert 70 < int(clean[:, 0].sum()) < 130
    assert draw_given_frames(torch.zeros(4, 1, 1, 1, 1), draw, 0.25) is None
    assert draw_given_frames(torch.zeros(4, 1, 1, 1), draw, 0.25) is None


def config_like(bundle: ModelBundle, **other: object) -> VideoDiTConfig:
    pictures = bundle.transformer.config
    return VideoDiTConfig(
        hidden_size=pictures.hidden_size,
        num_layers=pictures.num_layers,
        cross_head_dim=pictures.cross_head_dim,
        attention=TurnedLinearAttention(head_dim=pictures.head_dim, qk_norm=pictures.qk_norm),
        in_channels=pictures.in_channels,
        out_channels=pictures.out_channels,
        patch_size=(1, pictures.patch_size, pictures.patch_size),
        caption_channels=pictures.caption_channels,
        mlp_ratio=pictures.mlp_ratio,
        **other,  # type: ignore[arg-type]
    )


def test_a_network_of_clips_takes_all_of_one_of_pictures_but_for_time(tiny_bundle: ModelBundle) -> None:
    pictures = tiny_bundle.transformer
    assert isinstance(pictures, LinearDiT)
    network = VideoDiT(config_like(tiny_bundle))
    initialize_(network, torch.Generator().manual_seed(0))
    new = begin_as_pictures_(network, pictures)
    assert {name.split(".", 2)[-1] for name in new} == {"mix_ffn.temporal.weight"}
    assert all(not network.state_dict()[name].any() for name in new)
    assert torch.equal(network.final.weight, pictures.final.weight)


def test_with_added_positions_every_frame_begins_as_the_picture_of_its_network(tiny_bundle: ModelBundle) -> None:
    pictures, texts = tiny_bundle.transformer, torch.randn(2, 5, 32)
    assert isinstance(pictures, LinearDiT)
    scale, side = pictures.config.interpolation_scale, pictures.config.sample_size // pictures.config.patch_size
    network = VideoDiT(replace(config_like(tiny_bundle), interpolation_scale=scale, sample_size=side))
    initialize_(network, torch.Generator().manual_seed(0))
    begin_as_pictures_(network, pictures)
    latent, times = torch.randn(2, pictures.config.in_channels, 6, 4), torch.tensor([300.0, 900.0])
    text = TextCondition(texts, torch.ones(2, 5, dtype=torch.bool))
    with torch.no_grad():
        picture = pictures(latent, times, pictures.prepare(text))
        frame = network(latent[:, :, None], times, network.prepare(text))
        still = network(latent[:, :, None].expand(-1, -1, 3, -1, -1), times, network.prepare(text))
    assert torch.allclose(frame[:, :, 0], picture, atol=1e-5)
    assert not torch.allclose(still[:, :, 1], picture, atol=1e-5), "frames see one another, and where in time they are"


def test_a_run_on_scenes_in_motion_ends_with_a_folder_that_makes_clips(
    tiny_bundle: ModelBundle, tiny_model: Path, tmp_path: Path
) -> None:
    encoder = clips_of_pictures(tiny_bundle.autoencoder, TimeConfig(frames=2, channels=8, num_blocks=1), 0)
    save_network(DC_CLIP_AE, encoder, tmp_path / "encoder")
    network = config_like(tiny_bundle)
    recipe_of_clips: dict[str, Any] = {
        "type": "transformer",
        "model": {
            "hidden_size": network.hidden_size,
            "num_layers": network.num_layers,
            "cross_head_dim": network.cross_head_dim,
            "attention": {"head_dim": network.attention.head_dim, "qk_norm": network.attention.qk_norm},
            "in_channels": network.in_channels,
            "out_channels": network.out_channels,
            "patch_size": list(network.patch_size),
            "caption_channels": network.caption_channels,
            "mlp_ratio": network.mlp_ratio,
            "interpolation_scale": 1.0,
        },
        "from_pictures": str(tiny_model),
        "autoencoder": str(tmp_path / "encoder"),
        "text_encoder": str(tiny_model),
        "data": {
            "type": "scenes", "bank": "tiny", "num_captions": 6, "num_copies": 1,
            "cache_folder": str(tmp_path / "cache"),
        },
        "stages": [
            {
                "name": "a", "resolutions": [32], "frames": [5], "fps": [8], "batch_size": 2, "steps": 2,
                "learning_rate": 1e-3,
            }
        ],
        "samples": {"prompts": ["a cat moving left"], "steps": 1, "every_steps": 2},
        "log": {"steps": 1, "captions": 1},
        "given_first_frame": 0.5,
    }  # fmt: skip
    recipe = build_recipe(recipe_of_clips, name="clips")
    train(recipe, tmp_path / "run")
    assert (tmp_path / "run" / "sheet.png").is_file()
    pipeline = sanakit.load(str(tmp_path / "run" / "model"), text_encoder=str(tiny_model))
    index = json.loads((tmp_path / "run" / "model" / "model_index.json").read_text())
    assert "transformer" not in index, "diffusers would leave the added positions out"
    clip = pipeline("a cat moving left", seed=1, num_inference_steps=1).images[0]
    assert clip.frames.shape == (5, 32, 32, 3)  # type: ignore[attr-defined]
    assert clip.record.request.motion_score == 0  # type: ignore[attr-defined]
    again = {"init": str(tmp_path / "run" / "model"), "autoencoder": str(tmp_path / "encoder"), "text_encoder": None}
    goes_on = build_recipe({**recipe_of_clips, **again, "model": None, "from_pictures": None}, name="again")
    assert network_shape(goes_on).temporal == 2  # type: ignore[arg-type]


def test_what_networks_of_clips_do_not_do_is_told() -> None:
    stage = {"name": "a", "resolutions": [32], "batch_size": 2, "learning_rate": 1e-3, "steps": 1}
    base = {"type": "transformer", "data": {"type": "scenes", "bank": "tiny"}, "autoencoder": "starter"}
    pictures = {"hidden_size": 64, "num_layers": 1, "cross_head_dim": 32}
    with pytest.raises(ConfigError, match="from_pictures: belongs to a new network of clips"):
        build_recipe({**base, "model": pictures, "from_pictures": "starter", "stages": [stage]}, name="x")
    with pytest.raises(ConfigError, match="frames="):
        build_recipe({**base, "model": pictures, "stages": [{**stage, "frames": [0]}]}, name="x")
