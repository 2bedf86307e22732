"""Layers whose weights are kept in a scheme: the same sizes in and out, and the dtype of what comes in.

The stored tensors are buffers, which keep their own dtype when a network is converted; a bias is a parameter as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, RequestError
from sanakit.kernels.fp8_linear import fp8_linear
from sanakit.kernels.int4_linear import four_bit_linear
from sanakit.kernels.int8_linear import int8_linear
from sanakit.kernels.nvfp4_linear import nvfp4_linear
from sanakit.kernels.svdquant_linear import LowRank, svdquant_linear
from sanakit.layers.conv3x3 import After, Conv3x3, convolved
from sanakit.quantization.calibration import LayerInputs
from sanakit.quantization.codecs import decode, encode, levels_of, stored
from sanakit.quantization.schemes import FP8, NF4, NVFP4, Int4Weight, Int8, Scheme, SVDQuant


class QuantizedLayer(nn.Module):
    """What linears, convolutions and embeddings share: stored tensors, and the weight that they stand for."""

    def __init__(self, weight_shape: tuple[int, ...], *, scheme: Scheme, bias: bool) -> None:
        super().__init__()
        self.weight_shape, self.scheme = weight_shape, scheme
        for leaf, kept in stored(scheme, weight_shape).items():
            self.register_buffer(leaf, torch.empty(kept.shape, dtype=kept.dtype))
        self.bias = nn.Parameter(torch.empty(weight_shape[0])) if bias else None

    def take_(self, layer: nn.Module, seen: LayerInputs | None = None) -> Self:
        """Weights and bias of the layer that this one stands for, which was given ``seen`` in calibration.

        Raises:
            ConfigError: weights that are no numbers.
            RequestError: the scheme is calibrated, and nothing was seen.
        """
        weight, bias = layer.weight, layer.bias if self.bias is not None else None
        assert isinstance(weight, Tensor)
        with torch.no_grad():
            for leaf, tensor in encode(weight.detach(), self.scheme, seen).items():
                setattr(self, leaf, tensor)
        if isinstance(bias, Tensor):
            self.bias = nn.Parameter(bias.detach(), requires_grad=False)
        return self.train(layer.training)

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weight that the stored tensors stand for."""
        return decode(dict(self.named_buffers()), self.scheme, self.weight_shape).to(dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            moved = self._buffers[name]
            if buffer is not None and moved is not None and moved.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(moved.device)
        return self

    def extra_repr(self) -> str:
        return f"{self.weight_shape}, scheme={self.scheme.name}, bias={self.bias is not None}"


class QuantizedLinear(QuantizedLayer):
    """``nn.Linear`` in a scheme."""

    def __init__(self, in_features: int, out_features: int, *, scheme: Scheme, bias: bool) -> None:
        super().__init__((out_features, in_features), scheme=scheme, bias=bias)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` to ``(..., out_features)``; RequestError where rounding would stop a gradient."""
        if self.scheme.rounds_activations and torch.is_grad_enabled() and x.requires_grad:
            raise RequestError(
                f"{self.scheme.name} rounds activations, through which no gradient comes; train on int8-weight"
            )
        if isinstance(self.scheme, Int8 | FP8):
            linear = int8_linear if isinstance(self.scheme, Int8) else fp8_linear
            return linear(x, self.weight, self.weight_scale, self.bias)  # type: ignore[arg-type]
        if isinstance(self.scheme, NVFP4):
            return nvfp4_linear(x, self.dequantized(torch.float32), self.bias)
        if isinstance(self.scheme, SVDQuant):
            branch = LowRank(*(self.get_buffer(name) for name in ("smooth", "low_rank_down", "low_rank_up")))
            return svdquant_linear(x, self.weight, self.weight_scale, branch, self.bias)  # type: ignore[arg-type]
        if isinstance(self.scheme, Int4Weight | NF4):
            levels = levels_of(self.scheme, x.device)
            return four_bit_linear(x, self.weight, self.weight_scale, levels, self.bias)  # type: ignore[arg-type]
        return F.linear(x, self.dequantized(x.dtype), self.bias)


class QuantizedConv2d(QuantizedLayer):
    """``nn.Conv2d`` with one group in a scheme of weights; activations are as they are."""

    def __init__(self, weight_shape: tuple[int, ...], *, scheme: Scheme, bias: bool, how: dict[str, Any]) -> None:
        super().__init__(weight_shape, scheme=scheme, bias=bias)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.dequantized(x.dtype), self.bias, **self.how)


class QuantizedConv3x3(QuantizedLayer):
    """``Conv3x3`` in a scheme of weights, with what follows it."""

    def forward(self, x: Tensor, **after: Unpack[After]) -> Tensor:
        return convolved(x, self.dequantized(x.dtype), self.bias, **after)


class QuantizedEmbedding(QuantizedLayer):
    """``nn.Embedding`` with rows in a scheme; only the rows that are asked for are turned back."""

    def __init__(self, num_embeddings: int, embedding_dim: int, *, scheme: Scheme, dtype: torch.dtype) -> None:
        super().__init__((num_embeddings, embedding_dim), scheme=scheme, bias=False)
        self.num_embeddings, self.embedding_dim, self.dtype = num_embeddings, embedding_dim, dtype

    def forward(self, ids: Tensor) -> Tensor:
        rows = {name: buffer[ids.reshape(-1)] for name, buffer in self.named_buffers()}
        values = decode(rows, self.scheme, (ids.numel(), self.embedding_dim))
        return values.to(self.dtype).unflatten(0, ids.shape)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.dtype = fn(torch.zeros(0, dtype=self.dtype)).dtype
        return super()._apply(fn, recurse)


def empty_like(layer: nn.Module, scheme: Scheme) -> QuantizedLayer:
    """The quantized layer of a plain one's sizes, without its weights; on the device that torch makes tensors on."""
    if isinstance(layer, nn.Linear):
        return QuantizedLinear(layer.in_features, layer.out_features, scheme=scheme, bias=layer.bias is not None)
    if isinstance(layer, Conv3x3):
        return QuantizedConv3x3(tuple(layer.weight.shape), scheme=scheme, bias=layer.bias is not None)
    if isinstance(layer, nn.Conv2d):
        how = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        return QuantizedConv2d(tuple(layer.weight.shape), scheme=scheme, bias=layer.bias is not None, how=how)
    if isinstance(layer, nn.Embedding):
        return QuantizedEmbedding(layer.num_embeddings, layer.embedding_dim, scheme=scheme, dtype=layer.weight.dtype)
    raise ConfigError(f"a {type(layer).__name__} cannot be quantized")
