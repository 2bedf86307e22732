"""nunchaku's layout of svdquant: there and back to the bit, and the order of numbers that its kernels expect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.editing.convert import convert
from sanakit.checkpoints.files.reader import read_header
from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.checkpoints.networks.nunchaku import _order_of, _rows, to_nunchaku
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.common.errors import CheckpointError
from sanakit.models.presets import LINEAR_DIT_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.quantization.calibration import LayerInputs
from sanakit.quantization.quantize import quantize_
from sanakit.quantization.schemes import SVDQuant

CONFIG = LinearDiTConfig(
    hidden_size=160, num_layers=2, cross_head_dim=32, in_channels=4, out_channels=4, caption_channels=24, sample_size=4
)  # 160 and the 400 of its Mix-FFN are filled up to 256 and 448


@pytest.fixture(scope="module")
def network() -> LinearDiT:
    torch.manual_seed(0)
    network = LinearDiT(CONFIG).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(0, 0.1)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    rows = {name: torch.randn(32, layer.in_features) * torch.rand(layer.in_features) for name, layer in layers.items()}
    seen = {name: LayerInputs(largest=x.abs().amax(dim=0), kept=[x]) for name, x in rows.items()}
    quantize_(network, SVDQuant(rank=16), seen=seen)
    return network


@pytest.fixture(scope="module")
def file(network: LinearDiT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nunchaku")
    save_network(LINEAR_DIT, network, folder / "model" / "transformer")
    convert(folder / "model", folder / "n.safetensors", "nunchaku")
    return folder / "n.safetensors"


def test_there_and_back_to_the_bit(network: LinearDiT, file: Path) -> None:
    found = find_parts(file).transformer
    assert found is not None
    state, expected = load_network(found, dtype=torch.float32).state_dict(), network.state_dict()
    assert state.keys() == expected.keys()
    assert all(state[name].dtype == expected[name].dtype for name in expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_its_names_and_sizes(file: Path) -> None:
    tensors = load_file(file)
    block = {name: tuple(each.shape) for name, each in tensors.items() if name.startswith("transformer_blocks.1.")}
    assert {name.removeprefix("transformer_blocks.1."): shape for name, shape in block.items()} == {
        "scale_shift_table": (6, 160),
        "attn.qkv_proj.qweight": (768, 128), "attn.qkv_proj.wscales": (4, 768), "attn.qkv_proj.smooth": (256,),
        "attn.qkv_proj.lora_down": (256, 16), "attn.qkv_proj.lora_up": (768, 16),
        "attn.out_proj.qweight": (256, 128), "attn.out_proj.wscales": (4, 256), "attn.out_proj.smooth": (256,),
        "attn.out_proj.lora_down": (256, 16), "attn.out_proj.lora_up": (256, 16), "attn.out_proj.bias": (256,),
        "cross_attn.q_linear.qweight": (256, 128), "cross_attn.q_linear.wscales": (4, 256),
        "cross_attn.q_linear.smooth": (256,), "cross_attn.q_linear.lora_down": (256, 16),
        "cross_attn.q_linear.lora_up": (256, 16), "cross_attn.q_linear.bias": (256,),
        "cross_attn.kv_linear.weight": (320, 160), "cross_attn.kv_linear.bias": (320,),
        "cross_attn.out_proj.qweight": (256, 128), "cross_attn.out_proj.wscales": (4, 256),
        "cross_attn.out_proj.smooth": (256,), "cross_attn.out_proj.lora_down": (256, 16),
        "cross_attn.out_proj.lora_up": (256, 16), "cross_attn.out_proj.bias": (256,),
        "ff.inverted_conv.qweight": (896, 128), "ff.inverted_conv.wscales": (4, 896), "ff.inverted_conv.smooth": (256,),
        "ff.inverted_conv.lora_down": (256, 16), "ff.inverted_conv.lora_up": (896, 16),
        "ff.inverted_conv.bias": (896,), "ff.depth_conv.weight": (896, 3, 3, 1), "ff.depth_conv.bias": (896,),
        "ff.point_conv.qweight": (256, 256), "ff.point_conv.wscales": (8, 256), "ff.point_conv.smooth": (512,),
        "ff.point_conv.lora_down": (512, 16), "ff.point_conv.lora_up": (256, 16),
    }  # fmt: skip
    assert tensors["transformer_blocks.0.attn.qkv_proj.qweight"].dtype == torch.int8
    assert read_header([file]).metadata["model_class"] == "NunchakuSanaTransformer2DModel"


def test_rows_of_the_published_size() -> None:
    config = LINEAR_DIT_PRESETS["sana-1600m-1024"]
    qkv, inner = _rows("attention.qkv", config).tolist(), _rows("mix_ffn.expand", config).tolist()
    assert len(qkv) == 3 * 2304
    assert qkv[2239:2242] == [2239, -1, -1]  # 70 heads of queries, then two that fill up
    assert qkv[2304 : 2304 + 65] == [*range(2240, 2272), *range(4480, 4512), 2272]  # keys and values of a head
    assert len(inner) == 2 * 5632
    assert inner[:4] == [0, 5600, 1, 5601]  # values and gates in turn
    assert inner[2 * 5600 :] == [-1] * 64


def test_the_order_of_a_tile() -> None:
    """Of scales as deepcompressor's remarks list it; of weights lane by lane of the instruction m16n8k64."""
    scales = _order_of("weight_scale", 128, 1).apply(torch.arange(128)[:, None]).tolist()
    assert scales[:20] == [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 16, 17, 24, 25]
    assert scales[-4:] == [118, 119, 126, 127]
    numbers = torch.arange(256 * 128).view(256, 128)
    weights = iter(_order_of("weight", 256, 128).apply(numbers).tolist())
    for row, column in ((row, column) for row in range(0, 256, 128) for column in range(0, 128, 64)):
        for part in range(8):
            for lane in range(32):
                for n, k in ((n, k) for n in range(2) for k in range(2)):
                    y, x = row + 16 * part + 8 * n + lane // 4, column + 32 * k + 8 * (lane % 4)
                    assert [next(weights) for _ in range(8)] == numbers[y, x : x + 8].tolist()


def test_what_it_does_not_hold_is_refused(network: LinearDiT, file: Path, tmp_path: Path) -> None:
    state = NetworkState.of(LINEAR_DIT, network)
    with pytest.raises(CheckpointError, match="this transformer is in plain weights; sanakit quantize makes it so"):
        to_nunchaku(NetworkState.of(LINEAR_DIT, LinearDiT(CONFIG)))
    with pytest.raises(CheckpointError, match="without query and key norms"):
        to_nunchaku(replace(state, config=replace(CONFIG, qk_norm=True)))
    tensors = load_file(file)
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="without the config in its metadata"):
        find_parts(tmp_path / "a.safetensors")
    metadata = read_header([file]).metadata
    for name in ("transformer_blocks.0.attn.qkv_proj.lora_down", "proj_out.bias"):
        save_file({key: each for key, each in tensors.items() if key != name}, tmp_path / "c.safetensors", metadata)
        with pytest.raises(CheckpointError, match=f"lacks 1 tensors .* such as {name}; it is a part"):
            find_parts(tmp_path / "c.safetensors")
    save_file(tensors | {"transformer_blocks.0.attn.qkv_proj.wtscale": torch.ones(1)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="is in nunchaku's FP4"):
        find_parts(tmp_path / "b.safetensors")
