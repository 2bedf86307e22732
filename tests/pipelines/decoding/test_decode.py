"""Decoding under memory pressure: plans, retries, and the latent that is never lost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import DecodeMemoryError, OutputError
from sanakit.common.free_memory import is_out_of_memory
from sanakit.models.network import Network
from sanakit.models.presets import DC_AE_PRESETS
from sanakit.pipelines.decoding.decode import TILINGS as DEFAULT_TILINGS
from sanakit.pipelines.decoding.decode import _attempts, decode_latent
from sanakit.pipelines.decoding.tiling import Tiling, decode_tiled

TILINGS = (Tiling(tile=192, stride=128), Tiling(tile=128, stride=96), Tiling(tile=64, stride=48))
LATENT = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))


class LimitedAutoencoder(Network):
    """Decodes at most ``limit`` latent rows at once, and fails above as ``error`` says."""

    def __init__(self, inner: nn.Module, limit: int, error: Exception) -> None:
        super().__init__()
        self.inner, self.limit, self.error = inner, limit, error
        self.config = inner.config
        self.tried: list[int] = []

    def decode(self, latent: Tensor) -> Tensor:
        self.tried.append(latent.shape[-2])
        if latent.shape[-2] > self.limit:
            raise self.error
        return self.inner.decode(latent)


def plenty(device: torch.device) -> int:
    return 1 << 60


def out_of_memory() -> RuntimeError:
    return RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory")


def test_with_plenty_of_memory_the_whole_picture_is_decoded(tiny_bundle: ModelBundle) -> None:
    pixels = decode_latent(tiny_bundle.autoencoder, LATENT, free_memory=plenty, tilings=TILINGS)
    with torch.no_grad():
        assert torch.equal(pixels, tiny_bundle.autoencoder.decode(LATENT))


@pytest.mark.parametrize("index", range(len(TILINGS)))
def test_tiles_are_the_largest_that_fit(tiny_bundle: ModelBundle, index: int) -> None:
    autoencoder, tiling = tiny_bundle.autoencoder, TILINGS[index]
    free = int(autoencoder.config.decode_bytes(tiling.tile, tiling.tile) / 0.8) + 1
    pixels = decode_latent(autoencoder, LATENT, free_memory=lambda device: free, tilings=TILINGS)
    with torch.no_grad():
        assert torch.equal(pixels, decode_tiled(autoencoder.decode, LATENT, tiling, 16))


def test_a_fifth_of_the_free_memory_is_left_alone(tiny_bundle: ModelBundle) -> None:
    """The whole picture where it needs 80 % at most; a little less memory, and tiles take its place."""
    need = tiny_bundle.autoencoder.config.decode_bytes(256, 256)
    for free, is_whole in ((need / 0.8 + 1, True), (need / 0.8 - 8, False)):
        sizes = LimitedAutoencoder(tiny_bundle.autoencoder, 99, MemoryError())
        decode_latent(sizes, LATENT, free_memory=lambda device, free=free: int(free), tilings=TILINGS)
        assert (sizes.tried == [16]) == is_whole


def test_the_smallest_tiles_are_tried_where_nothing_seems_to_fit(tiny_bundle: ModelBundle) -> None:
    pixels = decode_latent(tiny_bundle.autoencoder, LATENT, free_memory=lambda device: 1, tilings=TILINGS)
    with torch.no_grad():
        assert torch.equal(pixels, decode_tiled(tiny_bundle.autoencoder.decode, LATENT, TILINGS[-1], 16))


@pytest.mark.parametrize(
    "error",
    [out_of_memory(), RuntimeError("not enough memory: you tried to allocate 9 bytes"), MemoryError(),
     torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")],
    ids=["cpu", "windows", "python", "cuda"],
)  # fmt: skip
def test_out_of_memory_heals_with_smaller_tiles(tiny_bundle: ModelBundle, error: Exception) -> None:
    autoencoder = LimitedAutoencoder(tiny_bundle.autoencoder, 8, error)
    pixels = decode_latent(autoencoder, LATENT, free_memory=plenty, tilings=TILINGS)
    assert autoencoder.tried[:3] == [16, 12, 8]
    assert pixels.shape == (1, 3, 256, 256)
    assert pixels.isfinite().all()


def test_other_errors_are_not_swallowed(tiny_bundle: ModelBundle) -> None:
    autoencoder = LimitedAutoencoder(tiny_bundle.autoencoder, 8, RuntimeError("a real bug"))
    with pytest.raises(RuntimeError, match="a real bug"):
        decode_latent(autoencoder, LATENT, free_memory=plenty, tilings=TILINGS)


def test_the_latent_is_saved_before_a_tight_decode(tiny_bundle: ModelBundle) -> None:
    need = tiny_bundle.autoencoder.config.decode_bytes(256, 256)
    order: list[str] = []
    autoencoder = LimitedAutoencoder(tiny_bundle.autoencoder, 99, MemoryError())
    decode = autoencoder.decode
    autoencoder.decode = lambda latent: (order.append("decoded"), decode(latent))[1]

    def save() -> Path:
        order.append("saved")
        return Path("latent.safetensors")

    decode_latent(autoencoder, LATENT, save_latent=save, free_memory=lambda device: int(need / 0.6), tilings=TILINGS)
    assert order == ["saved", "decoded"]
    order.clear()
    decode_latent(autoencoder, LATENT, save_latent=save, free_memory=lambda device: 3 * need, tilings=TILINGS)
    assert order == ["decoded"]


def test_giving_up_names_the_saved_latent_and_the_command(tiny_bundle: ModelBundle) -> None:
    autoencoder = LimitedAutoencoder(tiny_bundle.autoencoder, 0, out_of_memory())
    saved = Path("kept/seed7.safetensors")
    with pytest.raises(DecodeMemoryError, match=r"256x256 .* sanakit decode kept/seed7.safetensors"):
        decode_latent(autoencoder, LATENT, save_latent=lambda: saved, free_memory=plenty, tilings=TILINGS)
    assert autoencoder.tried == [16, 12, 8, 4]


def test_a_full_disk_does_not_keep_us_from_decoding(tiny_bundle: ModelBundle) -> None:
    def fail() -> Path:
        raise OutputError("the disk is full")

    pixels = decode_latent(
        tiny_bundle.autoencoder, LATENT, save_latent=fail, free_memory=lambda device: 1, tilings=TILINGS
    )
    assert pixels.isfinite().all()


def test_an_unknown_amount_of_memory_tries_the_whole_picture_first(tiny_bundle: ModelBundle) -> None:
    autoencoder = LimitedAutoencoder(tiny_bundle.autoencoder, 99, MemoryError())
    decode_latent(autoencoder, LATENT, free_memory=lambda device: None, tilings=TILINGS)
    assert autoencoder.tried == [16]


def test_what_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(out_of_memory())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(SimpleNamespace())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "side", "whole"), [("cpu", 4096, True), ("cuda", 4096, False), ("cuda", 2048, True)]
)
def test_accelerators_do_not_decode_what_their_indices_cannot_count(device: str, side: int, whole: bool) -> None:
    config = DC_AE_PRESETS["dc-ae-f32c32-sana-1.1"]
    latent = torch.empty(1, 32, side // 32, side // 32, device="meta")
    attempts = _attempts(latent, config, torch.device(device), DEFAULT_TILINGS)
    assert attempts == [*([None] if whole else []), *DEFAULT_TILINGS]
