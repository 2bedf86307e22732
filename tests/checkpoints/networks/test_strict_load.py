"""Loading is strict: every tensor or a sentence; configs are found from shapes where no file tells them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.files.reader import read_header, read_json, read_tensors
from sanakit.checkpoints.files.writer import write_safetensors, write_torch
from sanakit.checkpoints.networks.dc_ae import DC_AE, infer_dc_ae
from sanakit.checkpoints.networks.identify import identify
from sanakit.checkpoints.networks.kind import NetworkKind
from sanakit.checkpoints.networks.kinds import looks_like
from sanakit.checkpoints.networks.linear_dit import (
    LINEAR_DIT,
    UPSTREAM_LINEAR_DIT,
    diffusers_linear_dit,
    infer_linear_dit,
)
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.common.errors import CheckpointError
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS
from sanakit.quantization.schemes import NF4, Scheme

SIZES = {16: "512px", 32: "1024px", 64: "2Kpx", 128: "4Kpx"}


@pytest.mark.parametrize("name", LINEAR_DIT_PRESETS)
def test_a_published_transformer_is_recognised_by_its_shapes(name: str) -> None:
    config = LINEAR_DIT_PRESETS[name]
    assert infer_linear_dit(LINEAR_DIT.shapes(config), names=f"Sana_{SIZES[config.sample_size]}.pth") == config


def test_the_trained_size_shows_in_stored_positions() -> None:
    shapes = LINEAR_DIT.shapes(LINEAR_DIT_PRESETS["sana-1600m-4k"])
    assert infer_linear_dit({**shapes, "pos_embed": (1, 128 * 128, 2240)}) == LINEAR_DIT_PRESETS["sana-1600m-4k"]
    assert infer_linear_dit(shapes) == LINEAR_DIT_PRESETS["sana-1600m-1024"]


@pytest.mark.parametrize("name", DC_AE_PRESETS)
def test_a_published_autoencoder_is_recognised_by_its_shapes_and_name(name: str) -> None:
    assert infer_dc_ae(DC_AE.shapes(DC_AE_PRESETS[name]), names=f"mit-han-lab/{name}") == DC_AE_PRESETS[name]


def test_twins_need_a_name() -> None:
    with pytest.raises(CheckpointError, match=r"may be dc-ae-f32c32-in-1.0 or dc-ae-f32c32-mix-1.0"):
        infer_dc_ae(DC_AE.shapes(DC_AE_PRESETS["dc-ae-f32c32-in-1.0"]))


def load(kind: NetworkKind[Any, Any], file: Path, config: dict[str, Any] | None = None, **options: Any) -> Any:
    found = identify(kind, read_header([file]), config=config)
    return load_network(found, **{"dtype": torch.float32, **options})


def transformer_of(folder: Path) -> tuple[dict[str, Tensor], Path, dict[str, Any]]:
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    return read_tensors([file]), file, read_json(folder / "transformer" / "config.json")


def test_tensors_that_need_no_change_stay_mapped_from_the_file(folder: Path) -> None:
    _, file, config = transformer_of(folder)
    model = load(LINEAR_DIT, file, config)
    assert not model.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    assert load(LINEAR_DIT, file, config, dtype=torch.bfloat16).final.weight.dtype == torch.bfloat16


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what is mapped")
@pytest.mark.parametrize("quantize", [None, NF4()])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_what_is_made_into_other_numbers_leaves_memory_one_by_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, quantize: Scheme | None
) -> None:
    tensors, _, config = transformer_of(folder)
    file = tmp_path / f"w{suffix}"
    write_torch(file, tensors) if suffix == ".pth" else write_safetensors(file, tensors, {})
    mapped: list[int] = []

    def count(*_: object) -> None:
        mapped.append(Path("/proc/self/maps").read_text().count(str(file)))

    monkeypatch.setattr("sanakit.checkpoints.networks.strict_load.check_finite", count)
    model = load(LINEAR_DIT, file, config, dtype=torch.bfloat16, quantize=quantize)
    count()
    assert model.final.weight.dtype == torch.bfloat16
    assert mapped[0] > 10
    assert mapped == sorted(mapped, reverse=True)
    assert mapped[-1] == 0


Change = Callable[[dict[str, Tensor]], object]
BROKEN: dict[str, Change] = {
    r"1 of \d+ expected tensors are missing \(proj_out.bias\).*part of a model": lambda t: t.pop("proj_out.bias"),
    r"missing \(transformer_blocks.1.attn1.to_k.weight\)": lambda t: t.pop("transformer_blocks.1.attn1.to_k.weight"),
    r"1 tensors belong to no such network \(stranger.weight\)": lambda t: t.update({"stranger.weight": torch.ones(1)}),
    r"holds int8 weights, such as proj_out.bias; .* quantized": lambda t: t.update(
        {"proj_out.bias": torch.ones(4).char()}
    ),
    r"tensors belong to no such network \(transformer_blocks.9.scale_shift_table\)": lambda t: t.update(
        {"transformer_blocks.9.scale_shift_table": torch.ones(6, 64)}
    ),
    r"such as final.bias: it is \(9,\) and should be \(4,\)": lambda t: t.update({"proj_out.bias": torch.ones(9)}),
    r"lacks query and key norms, as SANA 1.0 does": lambda t: [t.pop(name) for name in list(t) if "norm_" in name],
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_partial_or_wrong_file_is_told_in_one_sentence(folder: Path, tmp_path: Path, sentence: str) -> None:
    tensors, _, config = transformer_of(folder)
    BROKEN[sentence](tensors)
    write_safetensors(tmp_path / "w.safetensors", tensors, {})
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load(LINEAR_DIT, tmp_path / "w.safetensors", config)
    assert "\n" not in str(caught.value)


def test_other_models_are_named(tmp_path: Path, folder: Path) -> None:
    write_torch(tmp_path / "w.pth", {"double_blocks.0.img_attn.qkv.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match="not a SANA transformer: it looks like a Flux transformer"):
        load(LINEAR_DIT, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="not a DC-AE autoencoder"):
        load(DC_AE, transformer_of(folder)[1])
    assert looks_like(["unet.down_blocks.0.lora_A.weight"]) == "it looks like a LoRA adapter"


def test_half_an_upstream_file_says_what_it_lacks(tmp_path: Path) -> None:
    write_torch(tmp_path / "w.pth", {"x_embedder.proj.weight": torch.ones(64, 4, 1, 1)})
    with pytest.raises(CheckpointError, match=r"no whole SANA transformer: 'caption_projection\.linear_1\.weight'"):
        load(LINEAR_DIT, tmp_path / "w.pth")


def test_a_width_that_was_never_published_needs_its_config(folder: Path, tmp_path: Path) -> None:
    tensors, _, config = transformer_of(folder)
    ours = diffusers_linear_dit(guidance_embeds=False).to_ours(tensors)
    write_torch(tmp_path / "w.pth", UPSTREAM_LINEAR_DIT.from_ours(ours) | {"pos_embed": torch.zeros(1, 64, 64)})
    with pytest.raises(CheckpointError, match=r"a width of 64 .* config.json"):
        load(LINEAR_DIT, tmp_path / "w.pth")
    loaded = load(LINEAR_DIT, tmp_path / "w.pth", config)
    assert all(torch.equal(tensor, ours[name]) for name, tensor in loaded.state_dict().items())


BAD_CONFIGS: dict[str, dict[str, object]] = {
    r"num_layers in config.json is 'eight'; it should be a number from 1 to 65536": {"num_layers": "eight"},
    r"num_layers in config.json is -8": {"num_layers": -8},
    r"num_layers in config.json is True": {"num_layers": True},
    r"num_layers in config.json is 100000000": {"num_layers": 100_000_000},
    r"asks for 60000 blocks and w.safetensors holds 2": {"num_layers": 60_000},
    r"asks for 3 blocks and w.safetensors holds 2": {"num_layers": 3},
    r"tensors belong to no such network .*its config is of a shallower model": {"num_layers": 1},
    r"gives a width of 2097120, above 65536": {"num_attention_heads": 65535},
    r"hidden_size=64 does not split into heads of cross_head_dim=48": {
        "cross_attention_head_dim": 48, "num_cross_attention_heads": 1,
    },
    r"mlp_ratio in config.json is nan": {"mlp_ratio": float("nan")},
    r"qk_norm in config.json is 5": {"qk_norm": 5},
    r"patch_size in config.json is \[\]": {"patch_size": []},
}  # fmt: skip


@pytest.mark.parametrize("sentence", BAD_CONFIGS)
def test_a_corrupt_config_is_one_sentence_with_its_file(folder: Path, tmp_path: Path, sentence: str) -> None:
    tensors, _, good = transformer_of(folder)
    write_safetensors(tmp_path / "w.safetensors", tensors, {})
    config = {**good, **BAD_CONFIGS[sentence]}
    (tmp_path / "config.json").write_text("{}")  # that it is there is enough
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load(LINEAR_DIT, tmp_path / "w.safetensors", config)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "lacks query" not in str(caught.value)


BAD_AUTOENCODERS: dict[str, dict[str, object]] = {
    r"config.json: encoder_layers_per_block in config.json is 'many'; it should be a list": {
        "encoder_layers_per_block": "many"
    },
    r"decoder_layers_per_block in config.json is 1.5": {"decoder_layers_per_block": [0, 1, 1, 1.5]},
    r"asks for 9006 blocks and .*holds \d": {"decoder_layers_per_block": [0, 1, 1, 9001]},
    r"downsample_block_type in config.json is 3": {"downsample_block_type": 3},
    r"scaling_factor in config.json is 'x'": {"scaling_factor": "x"},
    r"decoder_act_fns in config.json is \[\]": {"decoder_act_fns": [[], "silu", "silu", "silu"]},
    r"encoder_qkv_multiscales in config.json is 7": {"encoder_qkv_multiscales": 7},
    r"scales=\(4,\) of an attention must be odd": {"encoder_qkv_multiscales": [[], [], [4], []]},
}


@pytest.mark.parametrize("sentence", BAD_AUTOENCODERS)
def test_a_corrupt_config_of_an_autoencoder_is_told_too(folder: Path, sentence: str) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    config = read_json(folder / "vae" / "config.json") | BAD_AUTOENCODERS[sentence]
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load(DC_AE, file, config)
    assert str(folder / "vae") in str(caught.value)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_eight_bit_floats_are_read_and_those_with_scales_refused(folder: Path, tmp_path: Path, name: str) -> None:
    tensors, _, config = transformer_of(folder)
    small = {key: value.to(getattr(torch, name)) if value.ndim > 1 else value for key, value in tensors.items()}
    for file, write in (("w.safetensors", lambda path: write_safetensors(path, small, {})), ("w.pth", None)):
        path = tmp_path / file
        write(path) if write else write_torch(path, small)
        model = load(LINEAR_DIT, path, config, dtype=torch.float32)
        assert torch.equal(model.final.weight, small["proj_out.weight"].float())
    write_safetensors(tmp_path / "s.safetensors", {**small, "proj_out.scale_weight": torch.ones(1)}, {})
    with pytest.raises(CheckpointError, match=r"with their scales beside them, such as proj_out.scale_weight"):
        load(LINEAR_DIT, tmp_path / "s.safetensors", config)
