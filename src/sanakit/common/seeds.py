"""Noise that depends on its seed alone, never on the batch, the order or the device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sanakit.common.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from torch import Generator, Tensor

MAX_SEED = 2**63 - 1


def image_seed(seed: int, index: int) -> int:
    """The seed of image ``index`` of a prompt: ``seed + index``, wrapped to 63 bits."""
    return (seed + index) % (MAX_SEED + 1)


def generator_seed(generator: Generator) -> int:
    """The seed that a generator stands for: its own if nothing was drawn from it yet, else one drawn from it.

    It is drawn from either way, so that its next use is another seed.
    """
    import torch

    own = generator.initial_seed()
    fresh = torch.Generator(generator.device).manual_seed(own)
    is_fresh = own <= MAX_SEED and torch.equal(fresh.get_state(), generator.get_state())
    drawn = torch.randint(MAX_SEED, (), generator=generator, device=generator.device)
    return own if is_fresh else int(drawn)


def draw_noise(shape: Sequence[int], seed: int) -> Tensor:
    """Standard normal noise of one image, float32 on the CPU.

    Args:
        shape: shape of one latent without the batch axis, such as ``(C, H, W)``.
        seed: 0 to 2**63 - 1.

    Raises:
        RequestError: the seed is outside that range.
    """
    import torch  # here, so that a bad request is answered without the seconds that torch takes

    if not 0 <= seed <= MAX_SEED:
        raise RequestError(f"seed={seed} is out of range; a seed is a whole number from 0 to {MAX_SEED}")
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


def draw_clip_noise(shape: Sequence[int], seed: int, shared: float = 0.0) -> Tensor:
    """The same of a clip ``(C, T, H, W)``, whose frames have a share of its variance in common."""
    noise = draw_noise(shape, seed)
    if not shared:
        return noise
    common = draw_noise((shape[0], 1, *shape[2:]), derived_seed("shared", seed))
    return with_shared(noise, common, shared)


def with_shared(noise: Tensor, common: Tensor, share: float) -> Tensor:
    """Standard normal noise of frames, a share of whose variance is that of ``common`` ("mixed noise" of Preserve Your
    Own Correlation, arXiv:2305.10474): frames of one content then begin alike."""
    return share**0.5 * common + (1 - share) ** 0.5 * noise


def check_shared(share: float) -> None:
    """Raises ConfigError for what is no share."""
    if not 0 <= share < 1:
        raise ConfigError(f"shared_noise={share} must be at least 0 and below 1, or frames could not differ")


def draw_step_noise(shape: Sequence[int], seed: int, step: int) -> Tensor:
    """The noise that a stochastic solver adds in ``step``: of the picture's seed and the step alone."""
    return draw_noise(shape, derived_seed("step", seed, step))


def derived_digest(*facts: object) -> bytes:
    """32 bytes that follow from what decides a draw, such as a seed and a number; neighbours have nothing in common."""
    return hashlib.sha256("/".join(map(str, facts)).encode("utf-8", "surrogatepass")).digest()


def derived_seed(*facts: object, bits: int = 63) -> int:
    """A seed that follows from these facts, below ``2 ** bits``, of up to 64."""
    return int.from_bytes(derived_digest(*facts)[:8], "big") >> (64 - bits)
