"""What the rooms do only where there is an accelerator; pictures and runs on one are in `pipelines` and `training`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.cli.terminal.machine import look_at_machine
from sanakit.common.devices import has_quick_bfloat16, quick_autocast, resolve_device
from sanakit.common.errors import RequestError
from sanakit.common.user_cache import user_cache_folder
from sanakit.features.encoders import Encoders
from sanakit.kernels.arithmetic import arithmetic_facts
from sanakit.pipelines.decoding.decode import decode_latent
from sanakit.pipelines.decoding.memory import measured_free_memory
from sanakit.pipelines.decoding.tiling import Tiling
from sanakit.training.memory.step_memory import Workload, fake_tensors, measure_optimizer
from sanakit.training.optimizers.config import AdamWConfig
from sanakit.training.recipes.planning import available_memory
from sanakit.training.step.random_state import random_state, restore_random_state

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
GPU = torch.device("cuda")


def test_the_accelerator_is_found_and_named() -> None:
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:0") == "cuda:0"
    with pytest.raises(RequestError, match="cuda:0"):
        resolve_device("cuda:99")
    assert look_at_machine(user_cache_folder()).accelerators[0].name == torch.cuda.get_device_name(0)
    assert arithmetic_facts(GPU)["GPU"] == torch.cuda.get_device_name(0)


def test_bfloat16_is_quick_and_autocast_reaches_a_product() -> None:
    assert has_quick_bfloat16(GPU)
    with quick_autocast(GPU):
        assert (torch.ones(2, 2, device=GPU) @ torch.ones(2, 2, device=GPU)).dtype == torch.bfloat16


def test_free_memory_is_the_devices_and_what_torch_holds_in_reserve() -> None:
    before = measured_free_memory(GPU)
    held = torch.empty(1 << 28, dtype=torch.uint8, device=GPU)
    during = measured_free_memory(GPU)
    del held
    after = measured_free_memory(GPU)
    assert before is not None
    assert during is not None
    assert after is not None
    assert after - during == pytest.approx(1 << 28, abs=1 << 26)
    assert after == pytest.approx(before, abs=1 << 27)
    assert available_memory("cuda", 8) == pytest.approx(torch.cuda.mem_get_info()[0], abs=1 << 27)  # not a share


def test_a_decode_that_runs_out_of_memory_goes_on_in_tiles(tiny_bundle: ModelBundle) -> None:
    autoencoder = copy.deepcopy(tiny_bundle.autoencoder).to(GPU)
    whole, latent = autoencoder.decode, torch.randn(1, 4, 16, 16)

    def decode(part: torch.Tensor) -> torch.Tensor:
        if part.shape[-1] == 16:
            torch.empty(1 << 50, dtype=torch.uint8, device=GPU)  # more than any device has
        return whole(part)

    autoencoder.decode = decode  # type: ignore[method-assign]
    pixels = decode_latent(autoencoder, latent, tilings=(Tiling(tile=128, stride=96),))
    assert pixels.shape == (1, 3, 256, 256)
    assert pixels.device.type == "cpu"


def test_encoders_give_their_memory_back(tiny_bundle: ModelBundle) -> None:
    encoders = Encoders(
        autoencoder=lambda: copy.deepcopy(tiny_bundle.autoencoder).to(GPU), text=lambda: tiny_bundle.text_encoder
    )
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    with encoders.loaded():
        assert encoders.latent_channels == 4
        assert torch.cuda.memory_allocated() > before
    assert torch.cuda.memory_allocated() == before


def test_the_state_of_its_random_numbers_comes_back() -> None:
    kept = random_state()
    first = torch.randn(8, device=GPU)
    restore_random_state(kept)
    assert torch.equal(torch.randn(8, device=GPU), first)


def test_what_an_optimizer_takes_is_what_it_was_predicted_to_take() -> None:
    model = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512)).to(GPU)
    work = Workload(name="toy", model=model, loss=lambda *_: {}, optimizer=AdamWConfig(), device="cuda")
    with fake_tensors("cuda") as place:
        assert place.type == "cuda"
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    gradients = torch.cuda.memory_allocated() - before
    optimizer.step()
    assert torch.cuda.memory_allocated() - before - gradients == pytest.approx(measure_optimizer(work).state, rel=0.05)
