"""DC-AE's decoder in bands of rows: the whole picture's pixels in a part of its memory.

Convolutions and norms see a few rows on either side of a pixel, so a band with these rows around it gives its own ones
exactly; the sums of the linear attention are taken over all bands before any band is attended. Up to the last attention
a stage is kept whole, behind it never: a band goes from there to pixels at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sanakit.kernels.linear_attention import key_sums, read_sums
from sanakit.layers.linear_attention import MULTISCALE_EPS
from sanakit.layers.resample import Upsample
from sanakit.models.autoencoders.dc_ae import DCAutoencoder, EfficientViTBlock


def decode_in_bands(autoencoder: DCAutoencoder, latent: Tensor, rows: int) -> Tensor:
    """The scaled latent ``(B, C, h, w)`` to pixels ``(B, 3, H, W)``, float32 on the CPU, ``rows`` of them at a time.

    Equal to ``decode`` but for the order of sums and the places of Winograd's tiles.
    """
    decoder, modules = autoencoder.decoder, [*autoencoder.decoder.modules_in_order()]
    x = decoder.begin(latent / autoencoder.config.scaling_factor)
    height = latent.shape[-2] * autoencoder.config.compression
    attended = [index for index, module in enumerate(modules) if isinstance(module, EfficientViTBlock)]
    first_apart = attended[-1] + 1 if attended else 0
    for module in modules[:first_apart]:
        band = max(rows * x.shape[-2] // height, 1)
        if isinstance(module, EfficientViTBlock):
            x = _attended(module, x, band)
        else:
            scale = 2 if isinstance(module, Upsample) else 1
            x = _in_bands(module, x, rows=band, around=2, scale=scale)
    scale = height // x.shape[-2]

    def to_pixels(x: Tensor) -> Tensor:
        for module in modules[first_apart:]:
            x = module(x)
        return decoder.end(x).to("cpu", torch.float32)

    return _in_bands(to_pixels, x, rows=max(rows // scale, 1), around=autoencoder.config.band_reach, scale=scale)


def _attended(block: EfficientViTBlock, x: Tensor, rows: int) -> Tensor:
    attention = block.attention
    around = max((scale // 2 for scale in attention.scales), default=0)
    sums: list[Tensor] = []
    for band, (top, bottom) in _bands(x, rows, around):
        width = band.shape[-1]
        _, k, v = (part[:, :, top * width : bottom * width] for part in attention.heads(band))
        own = key_sums(k, v)
        sums = [*own] if not sums else [each + more for each, more in zip(sums, own, strict=True)]

    def attend(band: Tensor) -> Tensor:
        q, _, v = attention.heads(band)
        return band + attention.merged(read_sums(q, sums[0], sums[1], eps=MULTISCALE_EPS).to(v.dtype), band.shape[-2:])

    x = _in_bands(attend, x, rows=rows, around=around)
    return _in_bands(lambda band: band + block.mix_ffn(band), x, rows=rows, around=1)


def _bands(x: Tensor, rows: int, around: int) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Copies of so many rows with some around them, and which rows of a copy are its own."""
    height = x.shape[-2]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        begin, end = max(top - around, 0), min(bottom + around, height)
        yield x[..., begin:end, :].clone(), (top - begin, bottom - begin)  # whose memory layers may take


def _in_bands(run: Callable[[Tensor], Tensor], x: Tensor, *, rows: int, around: int, scale: int = 1) -> Tensor:
    """``run(x)``, which is ``scale`` times as high and sees ``around`` rows of x on either side."""
    whole: Tensor | None = None
    done = 0
    for band, (top, bottom) in _bands(x, rows, around):
        y = run(band)[..., top * scale : bottom * scale, :]
        if whole is None:
            shape = (*y.shape[:2], x.shape[-2] * scale, y.shape[-1])
            whole = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=torch.channels_last)
        whole[..., done : done + y.shape[-2], :] = y
        done += y.shape[-2]
    assert whole is not None
    return whole
