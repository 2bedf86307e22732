"""A clip decoded in tiles of its frames: each over its whole length into a file, then all put together frame by frame,
so that memory does not grow with the clip."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import numpy as np
import torch
from torch import Tensor

from sanakit.common.errors import OutputError
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.pipelines.decoding.tiling import Tiling, decode_tiled, tiles

_STORED = np.float16  # of pixels in [-1, 1], to less than a tenth of one of 255 levels


def decode_in_tiles(autoencoder: ClipAutoencoder, latent: Tensor, tiling: Tiling) -> Iterator[Tensor]:
    """``(1, C, t, h, w)`` to ``(1, 3, r, H, W)`` float32 on the CPU, from the first frames to the last.

    What a tile became lies in the system's temporary folder meanwhile: 6 bytes a pixel.

    Raises:
        OutputError: there is no room for it.
    """
    compression, at_once = autoencoder.config.compression, autoencoder.config.temporal_compression
    with ExitStack() as open_files:
        files = []
        for rows, columns in tiles(latent, tiling, compression):
            try:
                files.append(open_files.enter_context(tempfile.TemporaryFile()))
                _decode_into(files[-1], autoencoder, latent[..., rows, columns])
            except OSError as error:  # without it as a cause, which would be taken for that of the clip's own file
                where = f"{tempfile.gettempdir()}, where tiles of a clip lie until all are there,"
                raise OutputError(f"{where} could not be written ({error.strerror})") from None
        num_frames = 1 + (latent.shape[2] - 1) * at_once
        for first in range(0, num_frames, at_once):
            in_turn, length = iter(files), min(at_once, num_frames - first)

            def read(tile: Tensor, in_turn: Iterator[IO[bytes]] = in_turn, length: int = length) -> Tensor:
                return _next_frames(next(in_turn), length, *(side * compression for side in tile.shape[-2:]))

            yield decode_tiled(read, latent, tiling, compression)


def _decode_into(file: IO[bytes], autoencoder: ClipAutoencoder, latent: Tensor) -> None:
    for chunk in autoencoder.decode_stream(latent):
        frames = chunk[0].transpose(0, 1).to("cpu", torch.float32)  # (t, 3, H, W)
        file.write(frames.numpy().astype(_STORED).tobytes())
    file.seek(0)


def _next_frames(file: IO[bytes], length: int, height: int, width: int) -> Tensor:
    """``(1, 3, t, H, W)`` float32."""
    shape = (length, 3, height, width)
    content = np.frombuffer(file.read(int(np.prod(shape)) * np.dtype(_STORED).itemsize), _STORED)
    return torch.from_numpy(content.reshape(shape).astype(np.float32)).transpose(0, 1)[None]
