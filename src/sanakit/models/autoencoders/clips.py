"""What an autoencoder of clips is to everyone else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.layers.causal import ClipMemory
from sanakit.models.network import Network


class ClipAutoencoderConfig(Protocol):
    """How much smaller a latent is."""

    @property
    def compression(self) -> int:
        """Pixels of a side in one of the latent."""

    @property
    def temporal_compression(self) -> int:
        """Frames in one of the latent, but for the first, which stands alone."""

    @property
    def latent_channels(self) -> int: ...

    @property
    def in_channels(self) -> int: ...


class ClipAutoencoder(Network):
    """Pixels ``(B, 3, T, H, W)`` in [-1, 1] to a latent ``(B, C, 1 + (T - 1) / r, H / f, W / f)`` of unit variance and
    back. No chunk is changed by later ones, or frames wait until it is decided what they are, so that a clip may come
    and go chunk by chunk in memory that does not grow with its length.

    A subclass says what becomes of a chunk.
    """

    config: ClipAutoencoderConfig

    def encoding_state(self) -> dict[str, Tensor]:
        """The tensors that decide a latent: all, where a subclass does not know better."""
        return self.state_dict()

    def encode_chunk(self, pixels: Tensor, memory: ClipMemory) -> Tensor:
        """The first ``1 + n r`` frames of a clip, or the next ``n r``, to ``1 + n`` or ``n`` of the latent."""
        raise NotImplementedError

    def decode_chunk(self, latent: Tensor, memory: ClipMemory) -> Tensor:
        """The first ``1 + n`` frames of a latent, or the next ``n``, to ``1 + n r`` or ``n r`` frames, in [-1, 1]."""
        raise NotImplementedError

    def decode_pieces(self, latent: Tensor, memory: ClipMemory) -> Iterator[Tensor]:
        """The frames that are known with a chunk: its own, where a subclass does not wait for later ones."""
        yield self.decode_chunk(latent, memory)

    def encode(self, pixels: Tensor, *, at_once: int = 1) -> Tensor:
        """A whole clip, ``at_once`` frames of the latent at a time; a picture is a clip of one frame.

        Raises:
            ShapeError: the sides or the number of frames do not fit.
        """
        sides, temporal = self.config.compression, self.config.temporal_compression
        fits = pixels.ndim == 5 and pixels.shape[1] == self.config.in_channels
        if not fits or pixels.shape[2] % temporal != 1 % temporal or pixels.shape[3] % sides or pixels.shape[4] % sides:
            raise ShapeError(
                f"pixels {tuple(pixels.shape)} do not fit this autoencoder, which reads (B, {self.config.in_channels}, "
                f"T, H, W) with both sides multiples of {sides} and 1 frame more than a multiple of {temporal}"
            )
        memory = ClipMemory()
        ends = range(1 + temporal * (at_once - 1), pixels.shape[2] + temporal * at_once, temporal * at_once)
        chunks = (pixels[:, :, max(end - temporal * at_once, 0) : end] for end in ends)
        return torch.cat([self.encode_chunk(chunk, memory) for chunk in chunks if chunk.shape[2]], dim=2)

    def decode_stream(self, latent: Tensor, *, at_once: int = 1) -> Iterator[Tensor]:
        """The frames of a clip, those of ``at_once`` frames of its latent at a time.

        Raises:
            ShapeError: the channels do not fit.
        """
        if latent.ndim != 5 or latent.shape[1] != self.config.latent_channels:
            raise ShapeError(
                f"a latent {tuple(latent.shape)} does not fit this autoencoder, which reads "
                f"(B, {self.config.latent_channels}, T, h, w)"
            )
        memory, chunks = ClipMemory(), latent.split(at_once, dim=2)
        for index, chunk in enumerate(chunks, 1):
            memory.ends = index == len(chunks)
            yield from self.decode_pieces(chunk, memory)

    def decode(self, latent: Tensor, *, at_once: int = 1) -> Tensor:
        """A whole clip."""
        return torch.cat([*self.decode_stream(latent, at_once=at_once)], dim=2)
