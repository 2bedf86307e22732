"""The Triton twins against their references: in Triton's interpreter on the CPU, and as they are on a GPU."""

from __future__ import annotations

import math
import os
from importlib import import_module
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from sanakit.kernels import int4_linear, int8_linear, linear_attention, mix_ffn, modulated_norm, on_gpu

HAS_GPU = torch.cuda.is_available()
if not HAS_GPU:  # before the twins are imported, which is when they are first asked for
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton", reason="the Triton twins are tested where triton is installed: pip install triton")

attention_twin, mix_ffn_twin, norm_twin, int8_twin, four_bit_twin = (
    import_module(f"sanakit.kernels.{name}.triton")
    for name in ("linear_attention", "mix_ffn", "modulated_norm", "int8_linear", "int4_linear")
)

DEVICES = [
    pytest.param("cpu", marks=pytest.mark.skipif(HAS_GPU, reason="on a GPU the twins are compiled")),
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not HAS_GPU, reason="needs a CUDA device")]),
]
DTYPES = [
    # (dtype, relative to the largest value): sums in float32; half a step of eleven bits; a whole one of eight, as the
    # interpreter cuts bfloat16 where a GPU rounds it
    (torch.float32, 3e-6),
    (torch.float16, 1.01 * 2**-11),
    (torch.bfloat16, 1.01 * 2**-7),
]


SMALL_TILES = [
    (attention_twin, {"TOKENS": 16}),
    (mix_ffn_twin, {"ROWS": 2, "COLUMNS": 4, "CHANNELS": 8}),
    (int8_twin, {"ROWS": 16, "COLUMNS": 16, "CHANNELS": 32}),
    (four_bit_twin, {"ROWS": 16, "COLUMNS": 16, "BYTES": 16}),
]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The interpreter takes milliseconds an operation, so that many tiles are small ones there."""
    for twin, sizes in SMALL_TILES if request.param == "cpu" else []:
        for name, size in sizes.items():
            monkeypatch.setattr(twin, name, size)
    return str(request.param)


def draw(*shape: int, dtype: torch.dtype, device: str, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + math.prod(shape))
    return torch.randn(*shape, generator=generator).to(device, dtype)


def assert_near(found: Tensor, exact: Tensor, dtype: torch.dtype, tolerance: float) -> None:
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    error = (found.double().cpu() - exact.double().cpu()).abs().max() / exact.double().abs().max().cpu()
    assert error <= tolerance, float(error)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 2, 8), (1, 2, 150, 32), (2, 1, 17, 72)])
def test_linear_attention(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, device: str) -> None:
    """Queries, keys and values as the network gives them: views of one product, or normed ones beside a view."""
    batch, heads, num_tokens, size = shape
    qkv = draw(batch, num_tokens, 3, heads, size, dtype=dtype, device=device)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    q[0, 0, :1] = -1  # no positive channel
    k = k.transpose(1, 2).contiguous().transpose(1, 2)
    found = attention_twin.linear_attention(q, k, v, eps=1e-15)
    exact = linear_attention.reference.linear_attention(*(x.double() for x in (q, k, v)), eps=1e-15)
    assert_near(found, exact, dtype, tolerance)
    assert found.transpose(1, 2).is_contiguous()
    assert not found[0, 0, 0].any()


def test_linear_attention_to_other_tokens_than_its_own(device: str) -> None:
    q, k, v = (draw(1, 2, n, 16, dtype=torch.float32, device=device, seed=n) for n in (5, 35, 35))
    found = attention_twin.linear_attention(q, k, v, eps=0.5)
    assert_near(found, linear_attention.reference.linear_attention(q, k, v, eps=0.5), torch.float32, 3e-6)


def test_a_row_of_linear_attention_has_the_same_bits_in_company(device: str) -> None:
    q, k, v = (draw(3, 2, 80, 32, dtype=torch.float32, device=device, seed=n) for n in range(3))
    together = attention_twin.linear_attention(q, k, v, eps=1e-15)
    assert torch.equal(together[1:2], attention_twin.linear_attention(q[1:2], k[1:2], v[1:2], eps=1e-15))


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(("batch", "height", "width", "inner"), [(2, 1, 1, 3), (1, 3, 5, 9)])
def test_gated_depthwise(
    batch: int, height: int, width: int, inner: int, dtype: torch.dtype, tolerance: float, device: str
) -> None:
    tokens = draw(batch, height * width, 2 * inner, dtype=dtype, device=device)
    weight = draw(2 * inner, 1, 3, 3, dtype=dtype, device=device)
    bias = draw(2 * inner, dtype=dtype, device=device, seed=1)
    found = mix_ffn_twin.gated_depthwise(tokens, weight, bias, height=height, width=width)
    wide = (x.double() for x in (tokens, weight, bias))
    assert_near(found, mix_ffn.reference.gated_depthwise(*wide, height=height, width=width), dtype, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 5), (2, 7, 96), (3, 2, 130)])
def test_norms(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, device: str) -> None:
    batch, _, channels = shape
    x = 3 * draw(*shape, dtype=dtype, device=device) + 1
    shift, scale, gate = draw(batch, 3, channels, dtype=dtype, device=device, seed=1).chunk(3, dim=1)
    wide, shift64, scale64 = x.double(), shift.double(), scale.double()
    found = norm_twin.modulated_norm(x, shift, scale)
    assert_near(found, modulated_norm.reference.modulated_norm(wide, shift64, scale64), dtype, tolerance)
    weight = gate[0, 0].contiguous()
    expected = modulated_norm.reference.rms_norm(wide, weight.double(), eps=1e-5)
    apart = torch.cat([x, x, x], dim=-1)[..., channels : 2 * channels]  # as queries and keys lie
    for given in (x, apart):
        assert_near(norm_twin.rms_norm(given, weight, eps=1e-5), expected, dtype, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(("rows", "channels", "columns"), [(1, 3, 5), (33, 100, 20)])
def test_int8_linear(rows: int, channels: int, columns: int, dtype: torch.dtype, tolerance: float, device: str) -> None:
    x = draw(rows, channels, dtype=dtype, device=device)
    weight = draw(columns, channels, dtype=torch.float32, device=device).mul(40).clamp(-127, 127).to(torch.int8)
    scale = draw(columns, dtype=torch.float32, device=device, seed=1).abs() / 40
    bias = draw(columns, dtype=dtype, device=device, seed=2)
    for given in (bias, None):
        found = int8_twin.int8_linear(x[None], weight, scale, given)
        how = "float32 products of whole numbers"
        expected = int8_linear.reference.int8_linear(x[None].float(), weight, scale, given, products=how)
        assert_near(found, expected, dtype, tolerance)


def test_int8_rows_of_zeros_and_of_no_numbers(device: str) -> None:
    x = draw(4, 40, dtype=torch.float32, device=device)
    x[0], x[1, 3], x[2, 5] = 0, math.inf, math.nan
    weight, scale = torch.ones(6, 40, dtype=torch.int8, device=device), torch.ones(6, device=device)
    found = int8_twin.int8_linear(x, weight, scale)
    assert not found[0].any()
    assert found[1:3].isnan().all()
    assert found[3].isfinite().all()


def test_int8_rounds_halves_to_even(device: str) -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -3.5]], device=device)
    weight, scale = torch.eye(6, dtype=torch.int8, device=device), torch.ones(6, device=device)
    assert int8_twin.int8_linear(x, weight, scale).tolist() == [[127, 0, 2, 2, 0, -4]]


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("levels", [int4_linear.INT4, int4_linear.NF4])
@pytest.mark.parametrize(("rows", "channels", "columns", "group"), [(1, 3, 5, 4), (33, 130, 20, 64), (5, 33, 9, 10)])
def test_four_bit_linear(
    rows: int, channels: int, columns: int, group: int, levels: tuple[float, ...], dtype: torch.dtype,
    tolerance: float, device: str,
) -> None:  # fmt: skip
    groups = math.ceil(channels / group)
    codes = torch.randint(0, 16, (columns, groups * group), generator=torch.Generator().manual_seed(0))
    packed = int4_linear.pack_nibbles(codes).to(device)
    scale = draw(columns, groups, dtype=torch.bfloat16, device=device).abs()
    x, bias = draw(rows, channels, dtype=dtype, device=device), draw(columns, dtype=dtype, device=device, seed=1)
    table = int4_linear.levels_on(levels, torch.device(device))
    weight = int4_linear.four_bit_weight(packed, scale, table, channels).to(dtype)
    for given in (bias, None):
        found = four_bit_twin.four_bit_linear(x[None], packed, scale, table, given)
        wide = None if given is None else given.double()  # twice the tolerance: the interpreter cuts weights too
        assert_near(found, torch.nn.functional.linear(x[None].double(), weight.double(), wide), dtype, 2 * tolerance)


def test_the_public_functions_take_the_twins_where_these_may_compute(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only there: neither for gradients nor for other layouts."""
    monkeypatch.setattr(on_gpu, "takes", lambda *tensors: not torch.is_grad_enabled())
    x = draw(1, 2, 20, 16, dtype=torch.float32, device=device)
    tokens, weight = (
        draw(1, 6, 8, dtype=torch.float32, device=device),
        draw(8, 1, 3, 3, dtype=torch.float32, device=device),
    )
    bias, size = weight[:, 0, 0, 0].contiguous(), {"height": 2, "width": 3}
    whole, scale = torch.ones(3, 8, dtype=torch.int8, device=device), torch.ones(3, device=device)
    packed, table = (
        torch.full((3, 4), 0x5A, dtype=torch.uint8, device=device),
        int4_linear.levels_on(int4_linear.NF4, torch.device(device)),
    )
    calls = [
        (attention_twin, "linear_attention", lambda: linear_attention.linear_attention(x, x, x)),
        (mix_ffn_twin, "gated_depthwise", lambda: mix_ffn.gated_depthwise(tokens, weight, bias, **size)),
        (norm_twin, "modulated_norm", lambda: modulated_norm.modulated_norm(tokens, tokens[:, :1], tokens[:, :1])),
        (norm_twin, "rms_norm", lambda: modulated_norm.rms_norm(tokens, bias, eps=1e-5)),
        (int8_twin, "int8_linear", lambda: int8_linear.int8_linear(tokens, whole, scale)),
        (four_bit_twin, "four_bit_linear", lambda: int4_linear.four_bit_linear(tokens, packed, scale[:, None], table)),
    ]
    for twin, name, call in calls:
        with patch.object(twin, name, wraps=getattr(twin, name)) as spy:
            expected = call()
            assert not spy.called
            with torch.no_grad():
                torch.testing.assert_close(call(), expected, rtol=1e-5, atol=1e-5)
            assert spy.called


def test_what_the_twins_may_not_take() -> None:
    x = torch.ones(2)
    assert not on_gpu.takes(x)  # of the CPU
    assert not on_gpu.takes(torch.ones(2, device="meta"))
