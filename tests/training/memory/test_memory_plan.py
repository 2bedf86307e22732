"""The memory plan against a real step's allocations, real optimisers, and sums by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from sanakit.common.errors import RequestError
from sanakit.kernels.native import library
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.memory import step_memory
from sanakit.training.memory.memory_plan import MemoryPlan, fit_memory, plan_memories
from sanakit.training.memory.step_memory import StepSettings, Workload, measure_optimizer, measure_step
from sanakit.training.optimizers.build import build_optimizers
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig, MuonConfig, OptimizerConfig
from sanakit.training.recipes.autoencoder.plan import pixel_loss
from sanakit.training.recipes.transformer.plan import latent_loss
from sanakit.training.step.parallel import attention_for, autocast, checkpoint_activations

CONFIG = LinearDiTConfig(
    hidden_size=64, num_layers=5, head_dim=16, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=24
)
LOSS = latent_loss(side=8, num_tokens=10)
SETTINGS = StepSettings(batch_size=4, accumulation=2)


def meta(config: LinearDiTConfig = CONFIG) -> LinearDiT:
    with torch.device("meta"):
        return LinearDiT(config)


def work_of(model: nn.Module, optimizer: OptimizerConfig | None = None, device: str = "cpu") -> Workload:
    return Workload(name="low", model=model, loss=LOSS, optimizer=optimizer or AdamWConfig(), device=device)


def plan_memory(work: Workload, settings: StepSettings) -> MemoryPlan:
    return plan_memories([work], [settings])[0]


def measured(model: nn.Module, **changes: Any) -> step_memory.StepMemory:
    return measure_step(work_of(model), StepSettings(batch_size=4, **changes))


def real_peak(model: nn.Module, *, precision: Any) -> int:
    """Most bytes allocated at once by the forward and backward pass, as the allocator told the profiler."""
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace, attention_for("cpu"):
        with autocast("cpu", precision):
            loss = LOSS(model, 4, torch.device("cpu"))
        loss.backward()
    live = peak = 0
    for event in sorted(trace.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_real_step_allocates_what_the_plan_says(
    precision: Any, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 10 %: kernels take a little workspace that no tensor shows. Native kernels keep less than is planned."""
    monkeypatch.setattr(library, "native_library", lambda: None)
    model = LinearDiT(replace(CONFIG, num_layers=3))
    plan = measured(model, precision=precision, activation_checkpointing=checkpointing)
    if checkpointing:
        checkpoint_activations(model)
    assert max(plan.forward, plan.backward) == pytest.approx(real_peak(model, precision=precision), rel=0.1)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_deep_networks_are_extended_exactly(monkeypatch: pytest.MonkeyPatch, checkpointing: bool) -> None:
    found = measured(meta(), precision="bf16", activation_checkpointing=checkpointing)
    monkeypatch.setattr(step_memory, "_MEASURED_BLOCKS", 99)
    assert found == measured(meta(), precision="bf16", activation_checkpointing=checkpointing)


OPTIMIZERS = [AdamWConfig(), MuonConfig(), CAMEConfig(), CAME8BitConfig(min_8bit_size=2000)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda config: config.type)
def test_their_optimizers_too(monkeypatch: pytest.MonkeyPatch, config: OptimizerConfig, device: str) -> None:
    found = measure_optimizer(work_of(meta(), config, device))
    monkeypatch.setattr(step_memory, "_MEASURED_BLOCKS", 99)
    assert found == measure_optimizer(work_of(meta(), config, device))


@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda config: config.type)
def test_the_state_of_an_optimizer_is_what_it_really_keeps(config: OptimizerConfig) -> None:
    model = LinearDiT(replace(CONFIG, num_layers=4))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    kept = 0
    for optimizer in build_optimizers(model, config, learning_rate=1e-3):
        optimizer.step()
        kept += sum(
            value.numel() * value.element_size()
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        )
    assert measure_optimizer(work_of(model, config)).state == kept


def test_the_parts_of_a_plan() -> None:
    model = meta()
    n = sum(p.numel() for p in model.parameters())
    work = Workload(name="low", model=model, loss=LOSS, optimizer=AdamWConfig(), frozen=1000)
    plan = plan_memory(work, SETTINGS)
    assert (plan.weights, plan.gradients, plan.ema, plan.frozen) == (4 * n, 4 * n, 4 * n, 1000)
    assert plan.optimizer == 8 * n + 4 * len(list(model.parameters()))  # and a step count for each tensor
    assert plan.total == 20 * n + 4 * len(list(model.parameters())) + 1000 + plan.activations
    assert plan.table().splitlines()[-1].split() == ["total", f"{plan.total / 1e6:.1f}", "MB"]
    assert "activations of 4, bf16, kept" in plan.table()
    shared = plan_memory(replace(work, shards=4), SETTINGS)
    block = 4 * sum(p.numel() for p in model.blocks[0].parameters())
    assert (shared.gradients, shared.ema, shared.optimizer) == (n, n, plan.optimizer // 4)
    assert shared.weights == n + 2 * block
    assert shared.activations == plan.activations


def test_a_model_is_neither_changed_nor_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen part has no gradient and no state; the random state and the model's own blocks stay as they were."""
    shape = stages((8, 16, 16), (1, 1, 1), num_res=2)
    model = DCAutoencoder(DCAutoencoderConfig(encoder=shape, decoder=shape, latent_channels=4, head_dim=16))
    model.encoder.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    loss = pixel_loss(lambda net, pixels: (net.decoder(net.encoder(pixels)) - pixels).square().mean(), size=32)
    work = Workload(name="decoder", model=model, loss=loss, optimizer=AdamWConfig())
    plan = plan_memory(work, replace(SETTINGS, activation_checkpointing=True))
    assert plan.gradients == 4 * sum(p.numel() for p in model.decoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert plan.activations < plan_memory(work, SETTINGS).activations
    every = plan_memory(replace(work, model=model.requires_grad_(True)), SETTINGS)
    assert every.activations > plan.activations


class TestFit:
    """The steps of giving up speed; each budget is just below what the last choice needs."""

    work = Workload(name="low", model=meta(replace(CONFIG, num_layers=2)), loss=LOSS, optimizer=AdamWConfig())
    settings = StepSettings(batch_size=4, accumulation=2, precision="fp32")

    def total(self, **changes: Any) -> int:
        return plan_memory(self.work, replace(self.settings, **changes)).total

    def fitted(self, budget: int) -> StepSettings:
        (plan,) = fit_memory([self.work], [self.settings], budget)
        assert plan.total <= budget
        assert plan.settings.batch_size * plan.settings.accumulation == 8
        return plan.settings

    def test_what_fits_stays_and_then_micro_batches_get_smaller(self) -> None:
        budget = self.total()
        assert self.fitted(budget) == self.settings
        assert self.fitted(budget - 1) == replace(self.settings, batch_size=2, accumulation=4)

    def test_then_precision_and_then_recomputation(self) -> None:
        chosen = self.fitted(self.total(batch_size=1, accumulation=8) - 1)
        assert (chosen.precision, chosen.activation_checkpointing) == ("bf16", False)
        chosen = self.fitted(self.total(batch_size=1, accumulation=8, precision="bf16") - 1)
        assert chosen.activation_checkpointing

    def test_what_cannot_fit_names_the_least(self) -> None:
        small = replace(self.settings, batch_size=1, accumulation=1, precision="bf16")
        least = plan_memory(self.work, replace(small, activation_checkpointing=True)).total
        with pytest.raises(RequestError, match=rf"does not fit into 1\.0 kB.*still needs {least / 1e6:.1f} MB"):
            fit_memory([self.work], [small], 1000)

    def test_one_choice_for_all_stages(self) -> None:
        large = replace(self.work, name="high", loss=latent_loss(side=16, num_tokens=10))
        plain = StepSettings(batch_size=2)
        budget = plan_memory(large, replace(plain, batch_size=1)).total - 1
        low, high = fit_memory([self.work, large], [plain, plain], budget)
        assert low.settings.activation_checkpointing
        assert high.settings.activation_checkpointing
