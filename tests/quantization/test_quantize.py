"""Layers in fewer bits: how far a weight may be off, which layers take a scheme, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, RequestError
from sanakit.kernels.svdquant_linear import round_groups
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.quantization.calibration import MAX_ROWS, LayerInputs, recorded
from sanakit.quantization.codecs import encode, num_bytes, stored
from sanakit.quantization.layers import QuantizedConv2d, QuantizedEmbedding, QuantizedLinear
from sanakit.quantization.quantize import Quantization, quantization_of, quantize_, quantize_layers_
from sanakit.quantization.schemes import SCHEMES, BFloat16, Int8, Int8Weight, SVDQuant, scheme_named

CONFIG = LinearDiTConfig(hidden_size=64, num_layers=2, cross_head_dim=16, in_channels=4, out_channels=4)
BLOCK_LAYERS = ("attention.qkv", "attention.out", "cross_attention.q", "cross_attention.out", "mix_ffn.expand",
                "mix_ffn.project")  # fmt: skip


@pytest.fixture
def network() -> LinearDiT:
    torch.manual_seed(0)
    return LinearDiT(CONFIG).eval().requires_grad_(False)


def linear(weight: Tensor, scheme: str, bias: Tensor | None = None) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data, network = weight, nn.Sequential(layer)
    if bias is not None:
        layer.bias.data = bias
    quantize_(network.requires_grad_(False), scheme_named(scheme))
    return network[0]


def test_eight_bits_are_off_by_half_a_step_of_a_row() -> None:
    weight = torch.randn(12, 50, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    found = linear(weight, "int8-weight").dequantized(torch.float32)
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((found - weight).abs() <= 0.5001 * step).all()
    assert torch.equal(found[3], weight[3])


def test_bf16_rounds_to_bf16() -> None:
    weight = torch.randn(4, 6)
    x, bias = torch.randn(2, 6), torch.randn(4)
    assert torch.equal(linear(weight, "bf16", bias)(x), F.linear(x, weight.bfloat16().float(), bias))


def test_the_layers_of_the_blocks_take_int8_and_keys_and_values_of_the_text_stay(network: LinearDiT) -> None:
    found = quantize_(network, Int8())
    assert set(found.layers) == {f"blocks.{index}.{name}" for index in range(2) for name in BLOCK_LAYERS}
    assert "once a prompt" in found.kept["blocks.1.cross_attention.kv"]
    assert "outside of the blocks" in found.kept["modulation"]
    assert "depth-wise" in found.kept["blocks.0.mix_ffn.depthwise"]
    matrices = {name for name, module in network.named_modules() if getattr(module, "weight", None) is not None}
    norms = {name for name in matrices if "norm" in name}
    assert matrices - norms == {*found.layers, *found.kept}
    assert quantization_of(network).layers == found.layers


def test_weights_alone_take_keys_and_values_too(network: LinearDiT) -> None:
    assert "blocks.0.cross_attention.kv" in quantize_(network, Int8Weight()).layers


@pytest.mark.parametrize("channels", [50, 64, 65, 7, 1])
def test_four_bits_take_any_number_of_channels(channels: int) -> None:
    weight = torch.randn(6, channels, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    for scheme, most in (("int4-weight", 0.02), ("nf4", 0.02)):
        layer = linear(weight, scheme)
        found = layer.dequantized(torch.float32)
        assert (found - weight).square().mean() < most * weight.square().mean()
        assert torch.equal(found[2], weight[2])
        assert layer(torch.ones(2, channels)).shape == (2, 6)


def test_sizes_are_what_the_bits_promise() -> None:
    shape, plain = (128, 256), 128 * 256
    bits = {name: 8 * num_bytes(kind(), shape) / plain for name, kind in SCHEMES.items()}
    assert bits["bf16"] == 16
    assert bits["int8"] == bits["int8-weight"] == bits["fp8"] == 8.125
    assert bits["int4-weight"] == bits["nf4"] == 4.25
    assert bits["nvfp4"] == 4.5 + 32 / plain
    for name, kind in SCHEMES.items():
        weight = torch.randn(shape)
        seen = LayerInputs(largest=torch.ones(256), kept=[torch.randn(8, 256)])
        tensors = encode(weight, kind(), seen)
        assert {leaf: (tuple(each.shape), each.dtype) for leaf, each in tensors.items()} == stored(kind(), shape), name


def test_svdquant_keeps_outliers_that_four_bits_lose() -> None:
    g = torch.Generator().manual_seed(0)
    weight, rows = torch.randn(48, 96, generator=g), torch.randn(64, 96, generator=g)
    rows[:, 5] *= 60  # a channel of the activations
    weight[:, 11] *= 20
    seen = LayerInputs(largest=rows.abs().amax(0), kept=[rows])
    network = nn.Sequential(nn.Linear(96, 48, bias=False)).requires_grad_(False)
    network[0].weight.data = weight
    expected = network(rows)
    quantize_(network, SVDQuant(rank=8), seen={"0": seen})
    error = (network(rows) - expected).square().mean() / expected.square().mean()
    rounded = round_groups(rows, 64) @ linear(weight, "int4-weight").dequantized(torch.float32).mT
    without = (rounded - expected).square().mean() / expected.square().mean()
    assert 4 * error < without


def test_svdquant_without_calibration_is_refused(network: LinearDiT) -> None:
    with pytest.raises(RequestError, match="svdquant is calibrated on prompts"):
        quantize_(network, SVDQuant())


def test_calibration_sees_ranges_and_some_rows() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).requires_grad_(False)
    x = torch.randn(500, 2, 3)
    with recorded(network) as seen:
        for row in x:
            network(row)
    network(1e6 * x)
    assert torch.equal(seen["0"].largest, x.abs().amax((0, 1)))
    assert 0 < len(seen["0"].rows) <= 2 * MAX_ROWS + 8
    assert seen["1"].rows.shape[1] == 4


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "svdquant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_computes_in_its_own_dtype(network: LinearDiT, scheme: str, dtype: torch.dtype) -> None:
    quantize_(network.to(dtype), scheme_named(scheme))
    layer = network.blocks[0].attention.out  # type: ignore[union-attr]
    assert (layer.in_features, layer.out_features) == (64, 64)
    assert layer(torch.randn(1, 3, 64, dtype=dtype)).dtype == dtype
    assert network.compute_dtype == dtype
    before = copy.deepcopy(layer.state_dict())
    network.to(torch.bfloat16).to(torch.float32)
    assert network.compute_dtype == torch.float32
    for name, tensor in layer.state_dict().items():
        assert name == "bias" or (tensor.dtype == before[name].dtype and torch.equal(tensor, before[name]))


def test_convolutions_and_embeddings_take_weights_of_eight_bits() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(32, 40, 3, padding=1, stride=2), nn.Embedding(11, 64), nn.Conv2d(32, 32, 3, groups=32),
        nn.Conv2d(3, 64, 3), nn.Linear(8, 8),
    ]  # fmt: skip
    plain = nn.ModuleList(layers).requires_grad_(False)
    network = copy.deepcopy(plain)
    found = quantize_(network, Int8())
    assert {name: scheme.name for name, scheme in found.layers.items()} == {
        "0": "int8-weight", "1": "int8-weight", "4": "int8",
    }  # fmt: skip
    assert set(found.kept) == {"2", "3"}
    x, ids = torch.randn(1, 32, 9, 9), torch.tensor([[0, 10, 3]])
    assert isinstance(network[0], QuantizedConv2d)
    assert isinstance(network[1], QuantizedEmbedding)
    torch.testing.assert_close(network[0](x), plain[0](x), rtol=0, atol=0.05)
    assert network[1](ids).shape == (1, 3, 64)
    torch.testing.assert_close(network[1](ids), plain[1](ids), rtol=0, atol=0.02)
    assert network.to(torch.bfloat16)[1](ids).dtype == torch.bfloat16


def test_an_embedding_that_does_more_stays() -> None:
    class Scaled(nn.Embedding):
        pass

    network = nn.ModuleList([Scaled(4, 4), nn.Linear(4, 4)])
    assert "Scaled" in quantize_(network, Int8Weight()).kept["0"]


def test_layers_may_have_schemes_of_their_own(network: LinearDiT) -> None:
    wanted = Quantization(layers={"blocks.0.attention.qkv": Int8(), "blocks.1.mix_ffn.project": BFloat16()})
    quantize_layers_(network, wanted)
    assert quantization_of(network).layers == wanted.layers
    assert quantization_of(network).name == "int8 and bf16"
    assert Quantization.from_json(wanted.to_json()).layers == wanted.layers


def test_only_some_layers(network: LinearDiT) -> None:
    found = quantize_(network, Int8(), only=["blocks.0.attention.qkv"])
    assert list(found.layers) == ["blocks.0.attention.qkv"]
    assert found.kept["blocks.1.attention.qkv"] == "it was left out"


def test_twice_and_without_layers_and_with_damage(network: LinearDiT) -> None:
    quantize_(network, Int8Weight())
    with pytest.raises(RequestError, match=r"quantized already \(int8-weight\)"):
        quantize_(network, Int8())
    with pytest.raises(RequestError, match="no layer of this ReLU can be quantized as int8"):
        quantize_(nn.ReLU(), Int8())
    broken = nn.Sequential(nn.Linear(4, 4))
    broken[0].weight.data[1, 2] = float("nan")
    with pytest.raises(ConfigError, match="0 cannot be quantized: its weights hold values that are not numbers"):
        quantize_(broken, Int8())


def test_a_gradient_goes_through_weights_alone_and_is_refused_through_rounded_activations() -> None:
    x = torch.randn(2, 4, requires_grad=True)
    layer = linear(torch.randn(3, 4), "int8-weight")
    assert isinstance(layer, QuantizedLinear)
    layer.train()(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.dequantized(torch.float32).sum(0).expand(2, 4))
    with pytest.raises(RequestError, match="train on int8-weight"):
        linear(torch.randn(3, 4), "int8")(x)


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean int8-weight"):
        scheme_named("int8_weights")
