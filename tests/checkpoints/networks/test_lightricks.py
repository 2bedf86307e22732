"""LTX-2 in Lightricks' own files and as ComfyUI splits them: every form is read as the networks that were written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ltx2_transformer_to_diffusers, convert_ltx2_vae_to_diffusers
from safetensors.torch import save_file
from torch import Tensor

from sanakit.checkpoints.editing.convert import convert
from sanakit.checkpoints.networks.ltx2 import LTX2
from sanakit.checkpoints.networks.refiner.latent_upsampler import LATENT_UPSAMPLER
from sanakit.checkpoints.networks.refiner.ltx2_connectors import LTX2_CONNECTORS
from sanakit.checkpoints.networks.refiner.ltx2_video import LTX2_VIDEO
from sanakit.checkpoints.networks.strict_load import read_network
from sanakit.checkpoints.sources.complete import find_clip_autoencoder
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.common.errors import CheckpointError
from sanakit.models.autoencoders.ltx2 import LTX2AutoencoderConfig
from sanakit.models.latent_upsampler import LatentUpsamplerConfig
from sanakit.models.text.ltx2_connectors import LTX2ConnectorsConfig
from sanakit.models.transformers.ltx2_video import LTX2VideoConfig

AUTOENCODER = LTX2AutoencoderConfig(
    channels=(8, 16, 32, 64), num_blocks=(1, 0, 2, 0, 1), decoder_channels=(16, 32, 64), latent_channels=8,
    decoder_num_blocks=(1, 2, 0, 1), decoder_causal=False,
)  # fmt: skip
CONNECTORS = LTX2ConnectorsConfig(caption_channels=24, num_states=3, head_dim=8, num_registers=16, trained_on=32)
TRANSFORMER = LTX2VideoConfig(
    hidden_size=32, num_layers=2, head_dim=8, in_channels=8, caption_channels=24, rope_halves=True
)
NETWORKS = ((LTX2, AUTOENCODER), (LTX2_CONNECTORS, CONNECTORS), (LTX2_VIDEO, TRANSFORMER))
CONFIG = {  # with the fields of the published file
    "transformer": {
        "_class_name": "AVTransformer3DModel", "activation_fn": "gelu-approximate", "attention_bias": True,
        "attention_head_dim": 8, "caption_channels": 24, "cross_attention_dim": 32, "in_channels": 8, "out_channels": 8,
        "norm_elementwise_affine": False, "norm_eps": 1e-6, "num_attention_heads": 4, "num_layers": 2,
        "qk_norm": "rms_norm", "standardization_norm": "rms_norm", "positional_embedding_theta": 10000.0,
        "positional_embedding_max_pos": [20, 2048, 2048], "timestep_scale_multiplier": 1000,
        "causal_temporal_positioning": True, "use_middle_indices_grid": True, "rope_type": "split",
        "frequencies_precision": "float64", "audio_num_attention_heads": 32, "connector_attention_head_dim": 8,
        "connector_num_attention_heads": 3, "connector_num_layers": 2, "connector_positional_embedding_max_pos": [32],
        "connector_num_learnable_registers": 16, "connector_norm_output": True,
    },
    "vae": {
        "_class_name": "CausalVideoAutoencoder", "dims": 3, "in_channels": 3, "out_channels": 3, "latent_channels": 8,
        "encoder_blocks": [
            ["res_x", {"num_layers": 1}], ["compress_space_res", {"multiplier": 1}], ["res_x", {"num_layers": 0}],
            ["compress_time_res", {"multiplier": 2}], ["res_x", {"num_layers": 2}],
            ["compress_all_res", {"multiplier": 2}], ["res_x", {"num_layers": 0}],
            ["compress_all_res", {"multiplier": 2}], ["res_x", {"num_layers": 1}],
        ],
        "decoder_blocks": [
            ["res_x", {"num_layers": 1, "inject_noise": False}], ["compress_all", {"residual": True, "multiplier": 2}],
            ["res_x", {"num_layers": 2}], ["compress_all", {"residual": True, "multiplier": 2}],
            ["res_x", {"num_layers": 0}], ["compress_all", {"residual": True, "multiplier": 2}],
            ["res_x", {"num_layers": 1}],
        ],
        "norm_layer": "pixel_norm", "patch_size": 4, "latent_log_var": "uniform", "use_quant_conv": False,
        "causal_decoder": False, "timestep_conditioning": False, "encoder_base_channels": 8,
        "decoder_base_channels": 8,
    },
    "audio_vae": {}, "vocoder": {}, "scheduler": {"_class_name": "RectifiedFlowScheduler"},
}  # fmt: skip


def drawn() -> dict[str, dict[str, Tensor]]:
    """The tensors of each network under our names."""
    generator = torch.Generator().manual_seed(1)
    return {
        kind.component: {
            name: torch.randn(shape, generator=generator) for name, shape in kind.shapes(config).items()
        }
        for kind, config in NETWORKS
    }  # fmt: skip


def there() -> dict[str, Tensor]:
    """The same under Lightricks' names, and some of sound."""
    ours, found = drawn(), {}
    for kind, config in NETWORKS:
        theirs = kind.layouts(config)["upstream"].from_ours(ours[kind.component])
        for name, tensor in theirs.items():
            alone = kind is LTX2 or name.startswith("text_embedding_projection")
            found[("vae." if kind is LTX2 else "" if alone else "model.diffusion_model.") + name] = tensor
    for name in (
        "model.diffusion_model.audio_patchify_proj.weight",
        "model.diffusion_model.av_ca_a2v_gate_adaln_single.linear.bias",
        "model.diffusion_model.transformer_blocks.1.audio_to_video_attn.q_norm.weight",
        "model.diffusion_model.transformer_blocks.0.scale_shift_table_a2v_ca_audio",
        "model.diffusion_model.audio_embeddings_connector.transformer_1d_blocks.0.attn1.k_norm.weight",
        "vae.per_channel_statistics.mean-of-stds_over_std-of-means", "audio_vae.decoder.conv_in.conv.weight",
        "vocoder.conv_pre.bias", "audio_vae.per_channel_statistics.mean-of-means",
    ):  # fmt: skip
        found[name] = torch.zeros(4)
    return found


def write(path: Path, tensors: dict[str, Tensor], config: Any = CONFIG) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"config": json.dumps(config)})
    return path


def check(source: Path, components: set[str]) -> None:
    networks, expected = find_parts(source).networks, drawn()
    assert networks.keys() == components
    for kind, config in NETWORKS:
        if kind.component in components:
            state = read_network(networks[kind.component])
            assert state.config == config
            assert state.tensors.keys() == expected[kind.component].keys()
            assert all(torch.equal(state.tensors[name], each) for name, each in expected[kind.component].items())


def test_one_file_of_everything(tmp_path: Path) -> None:
    file = write(tmp_path / "ltx-2-19b-dev.safetensors", there())
    check(file, {"refiner", "connectors", "autoencoder"})
    assert find_clip_autoencoder(file).config == AUTOENCODER
    convert(file, tmp_path / "folder", "diffusers")
    for folder, component in (("transformer", "refiner"), ("vae", "autoencoder"), ("connectors", "connectors")):
        check(tmp_path / "folder" / folder, {component})


@pytest.mark.parametrize("wrapped", [True, False], ids=["as in the whole file", "without what is before the names"])
def test_as_comfyui_splits_it(wrapped: bool, tmp_path: Path) -> None:
    tensors, around = there(), ("model.diffusion_model.", "vae.")
    text = ("text_embedding_projection", "model.diffusion_model.video_emb", "model.diffusion_model.audio_emb")
    parts = {
        "connectors": [name for name in tensors if name.startswith(text)],
        "refiner": [name for name in tensors if name.startswith(around[0]) and not name.startswith(text)],
        "autoencoder": [name for name in tensors if name.startswith(around[1])],
    }
    for component, names in parts.items():
        bare = {name: name if wrapped else name.removeprefix(around[0]).removeprefix(around[1]) for name in names}
        check(write(tmp_path / f"{component}.safetensors", {bare[name]: tensors[name] for name in names}), {component})


def test_connectors_as_comfyui_saves_them(tmp_path: Path) -> None:
    tensors = there()
    names = [name for name in tensors if "video_emb" in name or name.startswith("text_")]
    bare = {name: name.removeprefix("model.diffusion_model.").replace("aggregate_embed.", "") for name in names}
    check(write(tmp_path / "a.safetensors", {bare[name]: tensors[name] for name in names}), {"connectors"})


def test_names_are_those_that_diffusers_translates() -> None:
    """Of the published networks; it has no table of the connectors'."""
    for kind, config, translated in (
        (LTX2_VIDEO, LTX2VideoConfig(), convert_ltx2_transformer_to_diffusers),
        (LTX2, LTX2AutoencoderConfig(), convert_ltx2_vae_to_diffusers),
    ):
        ours = kind.empty(config).state_dict()
        layouts = kind.layouts(config)
        there = layouts["upstream"].from_ours(ours)
        assert (
            kind.infer({name: tuple(each.shape) for name, each in ours.items()}, "").in_channels == config.in_channels
        )
        found = translated(dict(there))
        expected = layouts["diffusers"].from_ours(ours)
        assert {name: each.shape for name, each in found.items()} == {
            name: each.shape for name, each in expected.items()
        }
    names = LTX2_CONNECTORS.layouts(CONNECTORS)["upstream"].from_ours(drawn()["connectors"])
    assert {name for name in names if ".1." not in name} == {
        "text_embedding_projection.aggregate_embed.weight", "video_embeddings_connector.learnable_registers",
        *(f"video_embeddings_connector.transformer_1d_blocks.0.{part}" for part in (
            "attn1.q_norm.weight", "attn1.k_norm.weight", "attn1.to_q.weight", "attn1.to_q.bias", "attn1.to_k.weight",
            "attn1.to_k.bias", "attn1.to_v.weight", "attn1.to_v.bias", "attn1.to_out.0.weight", "attn1.to_out.0.bias",
            "ff.net.0.proj.weight", "ff.net.0.proj.bias", "ff.net.2.weight", "ff.net.2.bias",
        )),
    }  # fmt: skip


def test_the_config_decides_what_shapes_do_not_show(tmp_path: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["vae"] |= {"causal_decoder": True, "spatial_padding_mode": "zeros"}
    found = find_clip_autoencoder(write(tmp_path / "a.safetensors", there(), config)).config
    assert found == replace(AUTOENCODER, decoder_causal=True, decoder_padding="zeros")


def test_the_upsampler_has_a_file_of_its_own(tmp_path: Path) -> None:
    config = LatentUpsamplerConfig(in_channels=8, hidden_channels=32, num_blocks=1)
    tensors = {
        LATENT_UPSAMPLER.layouts(config)["upstream"].find_ours(name)[1][0]: torch.randn(shape)
        for name, shape in LATENT_UPSAMPLER.shapes(config).items()
    }
    said = {
        "_class_name": "LatentUpsampler", "in_channels": 8, "mid_channels": 32, "num_blocks_per_stage": 1, "dims": 3,
        "spatial_upsample": True, "temporal_upsample": False, "spatial_scale": 2.0, "rational_resampler": False,
    }  # fmt: skip
    file = write(tmp_path / "ltx-2-spatial-upscaler-x2-1.0.safetensors", tensors, said)
    assert find_parts(file).networks["latent_upsampler"].config == config
    with pytest.raises(CheckpointError, match="temporal_upsample"):
        find_parts(write(file, tensors, said | {"temporal_upsample": True}))


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("transformer", {"apply_gated_attention": True}, "gated_attn"),
        ("transformer", {"caption_proj_before_connector": True}, "per_modality_projections"),
        ("transformer", {"frequencies_precision": "float32"}, "rope_double_precision"),
        ("transformer", {"use_middle_indices_grid": False}, "use_middle_indices_grid"),
        ("vae", {"timestep_conditioning": True}, "timestep_conditioning"),
        (
            "vae",
            {"decoder_blocks": [["res_x", {"num_layers": 4}], ["compress_space", {}], ["res_x", {}]]},
            "later LTX-2",
        ),
        ("vae", {"encoder_blocks": [["res_x", {}], "compress"]}, "a block in the config is 'compress'"),
        ("vae", {"encoder_blocks": [["attn_res_x", {}]]}, "encoder_blocks in the config"),
    ],
)
def test_a_config_of_another_network_is_refused(part: str, change: dict[str, Any], said: str, tmp_path: Path) -> None:
    config = {**CONFIG, part: {**CONFIG[part], **change}}
    with pytest.raises(CheckpointError, match=said):
        find_parts(write(tmp_path / "a.safetensors", there(), config))


def test_quantized_and_later_ones_are_refused(tmp_path: Path) -> None:
    scaled = there()
    weight = "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight"
    scaled |= {weight: scaled[weight].to(torch.float8_e4m3fn), f"{weight}_scale": torch.ones(())}
    file = write(tmp_path / "fp8.safetensors", scaled)
    with pytest.raises(CheckpointError, match="weights with their scales beside them"):
        find_parts(file)
    assert find_clip_autoencoder(file).config == AUTOENCODER  # the other networks of the file are plain
    sound = {name: each for name, each in there().items() if name.startswith("audio_vae")}
    with pytest.raises(CheckpointError, match="autoencoder of sound"):
        find_parts(write(tmp_path / "sound.safetensors", sound))
    name = "caption_projection.linear_1.weight"
    later = {
        key: each for key, each in there().items() if key.endswith("weight") and name not in key and "vae" not in key
    }
    later["model.diffusion_model.prompt_adaln_single.linear.weight"] = torch.zeros(4)
    with pytest.raises(CheckpointError, match=r"LTX-2\.3 or later"):
        find_parts(write(tmp_path / "later.safetensors", later), folders=("transformer",))
