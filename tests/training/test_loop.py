"""The loop: its curve, its schedule, and that a run in two sittings is the run in one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.models.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.text_condition import TextCondition
from sanakit.training.distributed import Ranks
from sanakit.training.initialization import initialize_
from sanakit.training.loop import LoopConfig, LoopResult, build_optimizers, train
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, LatentBatch, flow_matching_loss

ALONE = Ranks()
CONFIG = LoopConfig(
    batch_size=8, learning_rate=0.02, steps=10, warmup_steps=3, decay=0.5, ema_decay=0.9, log_steps=1, save_minutes=1e-9
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def step_of(model: nn.Module, *, stop_at: int | None = None) -> Callable[[int], Mapping[str, Tensor]]:
    """Fit a fixed function on samples that follow from the number of the step."""

    def step(number: int) -> Mapping[str, Tensor]:
        if number == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
        return {"loss": (model(x) - x.prod(-1, keepdim=True)).square().mean(), "vector": x[:, 0]}

    return step


def run(folder: Path, config: LoopConfig = CONFIG, *, stop_at: int | None = None) -> tuple[nn.Module, LoopResult]:
    model = network()
    return model, train(model, step_of(model, stop_at=stop_at), config, folder, ranks=ALONE)


def curve(folder: Path, name: str) -> list[float]:
    return [json.loads(line)[name] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_sittings_are_one_to_the_bit(tmp_path: Path, optimizer: str) -> None:
    config = replace(CONFIG, optimizer=optimizer)
    whole, result = run(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", config, stop_at=5)
    parts, resumed = run(tmp_path / "parts", config)
    assert (result.steps, result.samples) == (resumed.steps, resumed.samples) == (10, 80)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], tensor), name
    for name in ("step", "loss", "gradient_norm", "learning_rate", "samples"):
        assert curve(tmp_path / "parts", name) == curve(tmp_path / "whole", name), name
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_finished_run_only_hands_out_its_average(tmp_path: Path) -> None:
    first, _ = run(tmp_path)
    second, result = run(tmp_path, CONFIG, stop_at=10)
    assert result.steps == 10
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert torch.equal(first[0].weight, state["ema"]["0.weight"])
    assert not torch.equal(first[0].weight, state["model"]["0.weight"])


def test_the_learning_rate_rises_stays_and_falls(tmp_path: Path) -> None:
    run(tmp_path)
    expected = [1 / 3, 2 / 3, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]     # three steps up, the last half of the ten down
    assert curve(tmp_path, "learning_rate") == pytest.approx([0.02 * rate for rate in expected])


def test_a_run_ends_with_its_minutes(tmp_path: Path) -> None:
    _, result = run(tmp_path, replace(CONFIG, steps=None, minutes=1e-9))
    assert result.steps == 0


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    train(model, step_of(model), CONFIG, tmp_path, ranks=ALONE)
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[2].weight, network()[2].weight)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_run_that_leaves_the_numbers_stops_before_it_spoils_its_state(
    tmp_path: Path, where: str, poison: float
) -> None:
    model = network()
    good = step_of(model)

    def step(number: int) -> Mapping[str, Tensor]:
        terms = dict(good(number))
        if number == 4 and where == "loss":
            terms["loss"] = terms["loss"] * poison
        elif number == 4:
            terms["loss"].register_hook(lambda gradient: gradient * poison)
        return terms

    with pytest.raises(FloatingPointError, match="step 4"):
        train(model, step, CONFIG, tmp_path, ranks=ALONE)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 4
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_muon_takes_the_matrices_of_blocks_and_adamw_the_rest() -> None:
    model = LinearDiT(TOY)
    muon, adamw = build_optimizers(model, replace(CONFIG, optimizer="muon"))
    names = {id(p): name for name, p in model.named_parameters()}
    chosen = sorted(names[id(p)].removeprefix("blocks.0.") for p in muon.param_groups[0]["params"])
    assert chosen == sorted(
        f"{layer}.weight" for layer in ("attention.qkv", "attention.out", "cross_attention.q", "cross_attention.kv",
                                        "cross_attention.out", "mix_ffn.expand", "mix_ffn.project")
    )
    rest = {names[id(p)] for p in adamw.param_groups[0]["params"]}
    assert rest | {f"blocks.0.{name}" for name in chosen} == set(names.values())
    assert "blocks.0.scale_shift_table" in rest


TOY = LinearDiTConfig(
    hidden_size=32, num_layers=1, head_dim=8, cross_head_dim=8, in_channels=2, out_channels=2, caption_channels=4,
    interpolation_scale=1.0, sample_size=4,
)
STORED_CURVE = [2.187069, 1.208559, 0.889078, 0.470356, 0.338372]


def test_a_transformer_learns_two_pictures_along_the_stored_curve(tmp_path: Path) -> None:
    """The whole recipe in miniature: two prompts, two latents; a change of any formula moves the curve.

    In float64: at this learning rate the rounding of float32, which differs with the number of threads, grows to 5 % of
    the loss in 60 steps.
    """
    model = LinearDiT(TOY)
    initialize_(model, torch.Generator().manual_seed(0))
    model.double()
    latent = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1)).repeat(4, 1, 1, 1).double()
    text = TextCondition(torch.eye(4)[:2, None].repeat(4, 1, 1).double(), torch.ones(8, 1, dtype=torch.bool))

    def step(number: int) -> Mapping[str, Tensor]:
        generator = torch.Generator().manual_seed(number)
        return flow_matching_loss(model, LatentBatch(latent, text), generator, config=FlowMatchingConfig())

    config = replace(CONFIG, steps=60, learning_rate=1e-2, warmup_steps=5, log_steps=12, save_minutes=60.0)
    train(model, step, config, tmp_path, ranks=ALONE)
    losses = curve(tmp_path, "loss")
    assert losses == pytest.approx(STORED_CURVE, rel=1e-3)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    "wrong",
    [{"steps": None}, {"steps": 0}, {"minutes": 0.0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"decay": 1.5},
     {"log_steps": 0}, {"gradient_clip": 0.0}, {"ema_decay": 1.1}, {"learning_rate": float("nan")}],
    ids=str,
)
def test_configs_that_cannot_work_are_refused(wrong: dict[str, float | None]) -> None:
    with pytest.raises(ConfigError):
        replace(CONFIG, **wrong)
