from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sanakit.pipelines.decoding.previews import CELL, fit_projection
from sanakit.pipelines.sources.picture import SourcePicture


def test_a_linear_code_is_projected_back() -> None:
    """Of an encoder that is an average over patches, a preview is that average."""
    mixing = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q

    def encode(picture: SourcePicture, size: tuple[int, int]) -> Tensor:
        pixels = torch.from_numpy(np.array(picture.fitted(*size))).permute(2, 0, 1)[None] / 127.5 - 1
        return torch.einsum("oc,bchw->bohw", mixing, torch.nn.functional.avg_pool2d(pixels, 32))

    latent = torch.einsum("oc,bchw->bohw", mixing, torch.full((1, 3, 2, 3), 0.25))
    projection = fit_projection(encode)
    assert projection.pixels(latent).shape == (1, 3, 2 * CELL, 3 * CELL)
    assert (projection.pixels(latent) - 0.25).abs().max() < 0.1
    assert projection.picture(latent, 2048, 3072).size == (512, 341)
    file = Image.open(io.BytesIO(projection.file(latent, 64, 96)))
    assert (file.format, file.size, getattr(file, "n_frames", 1)) == ("WEBP", (96, 64), 1)
    film = Image.open(io.BytesIO(projection.file(torch.stack([latent, -latent], dim=2), 2048, 3072)))
    assert (film.size, film.n_frames) == ((256, 171), 2)  # type: ignore[attr-defined]
