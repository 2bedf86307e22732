"""The native 3x3 convolution against the plain one in float64: every instruction set, odd sizes, what follows it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.kernels.conv3x3 import Epilogue, PixelNorm, conv3x3, native, reference
from sanakit.kernels.native import library as opening
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages


@pytest.fixture
def _use(native_everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "MIN_PIXELS", 1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(seed: int) -> tuple[tuple[Any, ...], bool]:
    """Arguments of any kind that the native twin takes."""
    pick = random.Random(seed)
    batch, height, width = pick.randint(1, 3), pick.randint(1, 40), pick.randint(1, 40)
    outputs, upsample = 16 * pick.randint(1, 5), pick.random() < 0.4
    inputs = outputs * pick.choice([1, 2, 4]) if upsample else 16 * pick.randint(1, 5)
    x = normal(batch, inputs, height, width, seed=seed)
    after = Epilogue(
        activation=pick.choice(["none", "silu", "relu"]),
        norm=pick.choice([None, PixelNorm(normal(outputs, seed=1), normal(outputs, seed=2), 1e-2)]),
        residual=pick.choice([None, x if upsample else normal(batch, outputs, height, width, seed=3)]),
    )
    weight = normal(outputs, inputs, 3, 3, seed=4) / (9 * inputs) ** 0.5
    return (x, weight, pick.choice([None, normal(outputs, seed=5)]), after), upsample


def cast_all(arguments: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    def cast(value: Any) -> Any:
        if isinstance(value, Epilogue):
            return replace(value, norm=cast(value.norm), residual=cast(value.residual))
        if isinstance(value, PixelNorm):
            return PixelNorm(value.weight.to(dtype), value.bias.to(dtype), value.eps)
        return value.to(dtype) if isinstance(value, Tensor) else value

    return tuple(map(cast, arguments))


def exact(arguments: tuple[Any, ...], *, upsample: bool = False) -> Tensor:
    return reference.conv3x3(*cast_all(arguments, torch.float64), upsample=upsample)


@cache
def case(seed: int) -> tuple[Any, bool, Tensor]:
    arguments, upsample = drawn(seed)
    return arguments, upsample, exact(arguments, upsample=upsample)


def assert_close(ours: Tensor, expected: Tensor) -> None:
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.usefixtures("_use")
@pytest.mark.parametrize("threads", [1, 2])
def test_equals_the_plain_sum(threads: int, lent_threads: Any) -> None:
    for seed in range(24):
        arguments, upsample, expected = case(seed)
        assert native.fits(*arguments, upsample=upsample)
        lent_threads(threads)
        ours = conv3x3(*arguments, upsample=upsample)
        lent_threads(1)  # two of torch's would wait for each other where others share the cores
        assert_close(ours, expected)


@pytest.mark.usefixtures("_use")
def test_bfloat16_is_rounded_once(lent_threads: Any) -> None:
    lent_threads(1)
    for seed in range(12):
        arguments, upsample = drawn(seed)
        arguments = cast_all(arguments, torch.bfloat16)
        ours, expected = conv3x3(*arguments, upsample=upsample), exact(arguments, upsample=upsample)
        assert native.fits(*arguments, upsample=upsample) or ours[0, 0].numel() < native.MORE_OF_HALVES
        assert ours.dtype == torch.bfloat16
        if native.fits(*arguments, upsample=upsample):
            assert ((ours - expected).abs() <= expected.abs() / 2**8 + 1e-5 * expected.abs().max()).all()


@pytest.mark.usefixtures("_use")
@pytest.mark.parametrize("side", [*range(1, 10), 16, 33, 40])
def test_every_side(side: int) -> None:
    x, weight = normal(1, 32, side, 41 - side), normal(48, 32, 3, 3)
    assert_close(conv3x3(x, weight), exact((x, weight)))


@pytest.mark.usefixtures("_use")
@pytest.mark.parametrize("outputs", [1, 3, 15, 17])
def test_any_number_of_output_channels(outputs: int) -> None:
    x, weight, bias = normal(2, 32, 9, 14), normal(outputs, 32, 3, 3), normal(outputs)
    arguments = x, weight, bias, Epilogue(activation="relu")
    assert native.fits(*arguments, upsample=False)
    assert_close(conv3x3(*arguments), exact(arguments))


@pytest.mark.usefixtures("_use")
@pytest.mark.parametrize("size", [(21, 50), (20, 40)])  # many tiles, and few that are many in company
def test_bits_depend_neither_on_threads_nor_on_company(size: tuple[int, int], lent_threads: Any) -> None:
    x, weight, bias = normal(3, 32, *size), normal(48, 32, 3, 3), normal(48)
    after = Epilogue(norm=PixelNorm(normal(48), normal(48), 1e-5))
    lent_threads(1)
    alone = conv3x3(x, weight, bias, after)
    for threads in (2, 3, 7):
        lent_threads(threads)
        assert torch.equal(alone, conv3x3(x, weight, bias, after))
    assert torch.equal(alone[1:2], conv3x3(x[1:2], weight, bias, after))


@pytest.mark.usefixtures("_use")
def test_any_layout_in_and_channels_last_out() -> None:
    x, weight, bias = normal(2, 64, 20, 30), normal(32, 32, 3, 3), normal(64)[::2]
    expected = exact((x[:, ::2], weight, bias))
    assert_close(conv3x3(x[:, ::2], weight, bias), expected)
    assert_close(conv3x3(x.mT.contiguous().mT[:, ::2], weight, bias), expected)
    last = x[:, ::2].contiguous(memory_format=torch.channels_last)
    ours = conv3x3(last, weight.contiguous(memory_format=torch.channels_last), bias)
    assert_close(ours, expected)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("_use")
def test_the_residual_is_overwritten_only_where_that_is_said() -> None:
    x, weight = normal(1, 16, 20, 30), normal(16, 16, 3, 3)
    residual = normal(1, 16, 20, 30, seed=1).contiguous(memory_format=torch.channels_last)
    before = residual.clone()
    expected = conv3x3(x, weight, None, Epilogue(residual=residual))
    assert torch.equal(residual, before)
    ours = conv3x3(x, weight, None, Epilogue(residual=residual, in_place=True))
    assert torch.equal(ours, expected)
    assert ours.data_ptr() == residual.data_ptr()
    first = before.contiguous()  # of another layout, which has to be copied anyway
    assert torch.equal(conv3x3(x, weight, None, Epilogue(residual=first, in_place=True)), expected)
    assert torch.equal(first, before)
    twice = before.clone(memory_format=torch.preserve_format)
    assert torch.equal(
        conv3x3(twice, weight, None, Epilogue(residual=twice, in_place=True)),
        conv3x3(before, weight, None, Epilogue(residual=before)),
    )


@pytest.mark.usefixtures("_use")
def test_silu_everywhere() -> None:
    """A weight that hands the input on: the activation of what is small, large and not a number."""
    weight = torch.zeros(16, 16, 3, 3)
    weight[range(16), range(16), 1, 1] = 1
    x = torch.linspace(-120, 120, 16 * 40 * 40).reshape(1, 16, 40, 40)
    expected = torch.nn.functional.silu(x.double())
    assert (
        (conv3x3(x, weight, None, Epilogue(activation="silu")) - expected).abs() <= 1e-5 * expected.abs().clamp(min=1)
    ).all()
    x[0, 0, 0, 0] = torch.nan
    assert conv3x3(x, weight, None, Epilogue(activation="silu")).isnan().any()


@pytest.mark.usefixtures("_use")
def test_what_does_not_fit_goes_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def fits(x: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> bool:
        return native.fits(x, weight, bias, Epilogue(residual=residual), upsample=False)

    x, weight, bias = normal(1, 16, 20, 20), normal(16, 16, 3, 3), normal(16)
    assert fits(x, weight, bias, x)
    assert not fits(x.half(), weight.half())
    assert fits(x.bfloat16(), weight.bfloat16())
    assert not fits(x, weight.bfloat16())
    assert not fits(x.double(), weight.double())
    assert not fits(x, weight.double())
    assert not fits(x[:, :15], weight[:, :15])
    assert not fits(x, weight[:15], residual=x[:, :15])
    assert not native.fits(x, weight[:15], None, Epilogue(), upsample=True)
    assert not fits(x, weight, normal(15))
    assert not fits(x, weight, residual=x[:, :, :19])
    assert not fits(x, weight[:, :, :2])
    assert not fits(x[0], weight)
    assert not fits(x[:0], weight)
    assert not fits(x.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not fits(x, weight)
    for training in (x, weight, bias):
        training.requires_grad_(True)
        assert not fits(x, weight, bias)
        with torch.no_grad():
            assert fits(x, weight, bias) == (training is not weight)  # weights that learn are computed as they learn
        training.requires_grad_(False)
    assert torch.func.vmap(lambda each: conv3x3(each[None], weight))(x.expand(3, -1, -1, -1)).shape[0] == 3
    monkeypatch.setattr(native, "MIN_PIXELS", 101)
    assert fits(x, weight)
    assert not fits(x.bfloat16(), weight.bfloat16())
    monkeypatch.setattr(native, "MIN_PIXELS", 401)
    assert not fits(x, weight)
    monkeypatch.setattr(opening, "native_library", lambda: None)
    monkeypatch.setattr(native, "MIN_PIXELS", 1)
    assert not fits(x, weight)
    assert torch.equal(conv3x3(x, weight, bias), torch.nn.functional.conv2d(x, weight, bias, padding=1))


@pytest.mark.usefixtures("_use")
def test_no_memory_is_an_error_and_no_crash() -> None:
    library = native.native_library()
    assert library is not None
    arguments = native._Arguments(batch=1, height=16, width=16, in_channels=2**32, out_channels=2**20, threads=1)
    with pytest.raises(MemoryError, match="not enough memory for the native kernel conv3x3"):
        library.call("conv3x3", arguments)


def small_autoencoder(*, up: Any, down: Any) -> DCAutoencoder:
    first = 1 if up == "interpolate" else 0
    shape = stages((32, 64, 64), (first, 2, 1), num_res=2)
    config = DCAutoencoderConfig(encoder=shape, decoder=shape, latent_channels=16, up=up, down=down, scaling_factor=0.5)
    torch.manual_seed(0)
    model = DCAutoencoder(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


@pytest.mark.usefixtures("_use")
@pytest.mark.parametrize(("up", "down"), [("interpolate", "conv"), ("pixel_shuffle", "pixel_unshuffle")])
def test_a_frozen_autoencoder_is_the_plain_one(
    up: str, down: str, lent_threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, latent, pixels = small_autoencoder(up=up, down=down), normal(2, 16, 6, 9), normal(2, 3, 24, 36)
    kept = latent.clone(), pixels.clone()
    lent_threads(1)
    decoded, encoded = model.decode(latent), model.encode(pixels)
    if up == "interpolate":  # of three channels torch's own convolution is not the same in company everywhere
        assert torch.equal(model.decode(latent[1:]), decoded[1:])
    assert torch.equal(latent, kept[0])
    assert torch.equal(pixels, kept[1])
    monkeypatch.setattr(opening, "native_library", lambda: None)
    assert_close(decoded, model.double().decode(latent.double()))
    assert_close(encoded, model.encode(pixels.double()))


@pytest.mark.usefixtures("_use")
def test_training_is_computed_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that learn, and pictures whose gradient is asked for, never meet the native twin."""
    monkeypatch.setattr(native, "conv3x3", lambda *_, **__: pytest.fail("the native twin"))
    model, latent = small_autoencoder(up="interpolate", down="conv"), normal(1, 16, 6, 9)
    model.decode(latent.requires_grad_(True)).sum().backward()
    assert latent.grad is not None
    model.requires_grad_(True)
    with torch.no_grad():
        model.encode(model.decode(latent))
