"""The 3x3 convolution of autoencoders."""

from __future__ import annotations

from torch import Tensor, nn

from sanakit.kernels.conv3x3 import Activation, PixelNorm, conv3x3
from sanakit.layers.norms import PixelRMSNorm


class Conv3x3(nn.Conv2d):
    """Stride 1 and padding 1; what follows it may be computed with it, which spares passes over the picture."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        *,
        activation: Activation = "none",
        norm: nn.Module | None = None,
        residual: Tensor | None = None,
        upsample: bool = False,
    ) -> Tensor:
        """``norm(activation(conv(x))) + residual``; with ``upsample`` of x doubled, and with DC-AE's shortcut.

        Shapes are those of `sanakit.kernels.conv3x3`.
        """
        if norm is None or isinstance(norm, PixelRMSNorm):
            last = None if norm is None else PixelNorm(norm.weight, norm.bias, norm.eps)
            after = {"activation": activation, "norm": last, "residual": residual, "upsample": upsample}
            return conv3x3(x, self.weight, self.bias, **after)
        assert not upsample
        y = norm(conv3x3(x, self.weight, self.bias, activation=activation))
        return y if residual is None else residual + y
