"""The 3x3 convolution of autoencoders."""

from __future__ import annotations

from typing import TypedDict, Unpack

from torch import Tensor, nn

from sanakit.kernels.conv3x3 import Epilogue, PixelNorm, conv3x3
from sanakit.kernels.pixel_norm import Activation
from sanakit.layers.norms import PixelRMSNorm


class After(TypedDict, total=False):
    """What may follow a convolution, and what goes before; shapes are those of `sanakit.kernels.conv3x3`."""

    activation: Activation
    norm: nn.Module | None
    residual: Tensor | None
    in_place: bool  # the result may take the residual's memory
    upsample: bool


class Conv3x3(nn.Conv2d):
    """Stride 1 and padding 1; what follows it may be computed with it, which spares passes over the picture."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor, **after: Unpack[After]) -> Tensor:
        """``norm(activation(conv(x))) + residual``; with ``upsample`` of x doubled, and with DC-AE's shortcut."""
        return convolved(x, self.weight, self.bias, **after)


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, **after: Unpack[After]) -> Tensor:
    """What ``Conv3x3`` computes with these weights, whoever keeps them and how."""
    norm, residual, upsample = after.get("norm"), after.get("residual"), after.get("upsample", False)
    activation = after.get("activation", "none")
    if norm is None or isinstance(norm, PixelRMSNorm):
        last = None if norm is None else PixelNorm(norm.weight, norm.bias, norm.eps)
        epilogue = Epilogue(activation=activation, norm=last, residual=residual, in_place=after.get("in_place", False))
        return conv3x3(x, weight, bias, epilogue, upsample=upsample)
    assert not upsample
    y = norm(conv3x3(x, weight, bias, Epilogue(activation=activation)))
    return y if residual is None else residual + y
