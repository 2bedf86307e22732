"""The loop: its curve, its schedule, its stages, what it saves, and how it stops."""

from __future__ import annotations

import json
import logging
import math
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sanakit.common.errors import CheckpointError, ConfigError, OutputError
from sanakit.common.ranks import ALONE, Ranks
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.loop import RunResult, run_stages
from sanakit.training.run.run_config import CheckpointConfig, LogConfig, RunConfig, SampleConfig
from sanakit.training.run.session import Session, Watchers
from sanakit.training.run.stage import StageConfig, microbatch_seed, rate_factor, stage_progress
from sanakit.training.saving.checkpoint import damage, find_checkpoint, load_tensors, newest, save_checkpoint
from sanakit.training.saving.guard import NonFiniteError
from sanakit.training.step.feeds import Prefetched, plan_step
from sanakit.training.step.parallel import checkpoint_activations
from sanakit.training.step.trainee import PlannedStage
from sanakit.training.watching.report import read_log
from sanakit.training.watching.run_log import CLOCKS, Window

STAGE = StageConfig(name="only", batch_size=4, learning_rate=0.02, steps=10, warmup_steps=3, decay=0.5)


def train(
    stages: Sequence[PlannedStage], config: RunConfig, folder: Path, *, watchers: Watchers | None = None
) -> RunResult:
    return run_stages(stages, Session(config=config, folder=folder, watchers=watchers or Watchers()))


def curve(folder: Path, name: str) -> list[float]:
    return [line[name] for line in read_log(folder / "log.jsonl")]


def test_the_learning_rate_rises_stays_and_falls(tmp_path: Path, toy: ModuleType) -> None:
    train([toy.toy_stage(toy.network(), STAGE)], toy.toy_config(), tmp_path)
    expected = [1 / 3, 2 / 3, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]  # three steps up, the last half of the ten down
    assert curve(tmp_path, "learning_rate") == pytest.approx([0.02 * rate for rate in expected])


def test_a_stage_ends_with_the_first_of_its_ends() -> None:
    config = replace(STAGE, steps=10, epochs=2.0, minutes=1.0)
    assert stage_progress(config, step=5, position=3, seconds=6.0, num_batches=5) == 0.5
    assert stage_progress(config, step=1, position=9, seconds=6.0, num_batches=5) == 0.9
    assert stage_progress(config, step=1, position=1, seconds=60.0, num_batches=5) == 1.0
    with pytest.raises(ConfigError, match="never repeats"):
        stage_progress(config, step=0, position=0, seconds=0.0, num_batches=None)
    assert rate_factor(replace(STAGE, decay=0.0), 100, 0.99) == 1.0


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (3, 2), (2, 5)])
def test_the_shares_of_a_step_are_its_microbatches_once(toy: ModuleType, world: int, accumulation: int) -> None:
    data, position, end = toy.ToyData(22, 4), 0, 12  # two epochs of six, the last of two samples
    seen, total = [], 0
    while position < end:
        shares = [plan_step(data.num_samples, position, end, accumulation, Ranks(rank, world)) for rank in range(world)]
        assert len({len(share.numbers) for share in shares}) == 1  # in step: none waits for another
        taken = [(n, w) for share in shares for n, w in zip(share.numbers, share.weights, strict=True) if w]
        assert math.isclose(sum(weight for _, weight in taken), 1.0)
        for number, weight in taken:
            assert weight == data.num_samples(number) / shares[0].num_samples
        for rank, share in enumerate(shares):
            assert all(
                n == position + a * world + rank
                for a, (n, w) in enumerate(zip(share.numbers, share.weights, strict=True))
                if w
            )
        seen += [number for number, _ in taken]
        total += shares[0].num_samples
        position += shares[0].num_microbatches
    assert sorted(seen) == list(range(12))
    assert total == 44


def test_accumulation_is_one_large_batch(tmp_path: Path, toy: ModuleType) -> None:
    """With noise that is the samples' own, three micro-batches (8 + 8 + 6 samples) make the gradient of all 22."""
    norms = []
    for size, accumulation in ((22, 1), (8, 3)):
        model = toy.network()
        config = replace(STAGE, batch_size=size, accumulation=accumulation, steps=4)
        stage = toy.toy_stage(model, config, loss=toy.toy_loss(model, noise=0.0))
        train([stage], toy.toy_config(), tmp_path / str(size))
        norms.append(curve(tmp_path / str(size), "gradient_norm"))
        assert curve(tmp_path / str(size), "samples") == [22, 44, 66, 88]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_noise_depends_on_seed_stage_and_number_alone() -> None:
    seeds = {microbatch_seed(seed, stage, number) for seed in (0, 1) for stage in (0, 1) for number in range(100)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert microbatch_seed(5, 1, 7) == microbatch_seed(5, 1, 7)


def test_stages_follow_each_other_and_are_built_when_they_begin(tmp_path: Path, toy: ModuleType) -> None:
    model, built = toy.network(), []
    stages = []
    for name, size, steps in (("low", 4, 3), ("high", 2, 2)):
        planned = toy.toy_stage(model, replace(STAGE, name=name, batch_size=size, steps=steps))

        def build(planned: Any = planned, name: str = name) -> Any:
            built.append((name, len(curve(tmp_path, "step")) if (tmp_path / "log.jsonl").exists() else 0))
            return planned.build()

        stages.append(replace(planned, build=build))
    result = train(stages, toy.toy_config(), tmp_path)
    assert built == [("low", 0), ("high", 3)]
    assert (result.steps, result.samples) == (5, 16)
    assert curve(tmp_path, "stage") == [0, 0, 0, 1, 1]
    assert curve(tmp_path, "epoch") == pytest.approx([1 / 6, 2 / 6, 3 / 6, 1 / 11, 2 / 11])


def test_the_trained_model_is_its_average_and_again_when_nothing_is_left_to_do(tmp_path: Path, toy: ModuleType) -> None:
    first, second = toy.network(), toy.network(1)
    train([toy.toy_stage(first, STAGE)], toy.toy_config(), tmp_path)
    log = (tmp_path / "log.jsonl").read_text()
    result = train([toy.toy_stage(second, STAGE)], toy.toy_config(), tmp_path)
    assert result.steps == 10
    assert (tmp_path / "log.jsonl").read_text() == log
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    checkpoint = newest(tmp_path / "checkpoints")
    assert checkpoint is not None
    saved = {"ema.0.weight": torch.empty(8, 3), "model.toy.0.weight": torch.empty(8, 3)}
    load_tensors(checkpoint, saved, ranks=ALONE)
    assert torch.equal(first[0].weight, saved["ema.0.weight"])
    assert not torch.equal(first[0].weight, saved["model.toy.0.weight"])


def test_frozen_parameters_stay(tmp_path: Path, toy: ModuleType) -> None:
    model = toy.network()
    model[0].requires_grad_(False)
    train([toy.toy_stage(model, STAGE)], toy.toy_config(), tmp_path)
    assert torch.equal(model[0].weight, toy.network()[0].weight)
    assert not torch.equal(model[2].weight, toy.network()[2].weight)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["loss", "gradient", "output"])
def test_a_run_that_leaves_the_numbers_stops_before_it_spoils_its_weights(
    tmp_path: Path, toy: ModuleType, where: str, poison: float
) -> None:
    model = toy.network()
    good = toy.toy_loss(model)
    bad = toy.ToyData(22, 4).keys(4)
    before: dict[str, Tensor] = {}

    def loss(batch: Any, generator: torch.Generator, made: Any) -> dict[str, Tensor]:
        is_bad = batch.keys.tolist() == bad
        if is_bad:
            before.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        if is_bad and where == "output":
            batch = replace(batch, x=batch.x * poison)
        terms = dict(good(batch, generator, made))
        if is_bad and where == "loss":
            terms["loss"] = terms["loss"] * poison
        elif is_bad and where == "gradient":
            terms["loss"].register_hook(lambda gradient: gradient * poison)
        return terms

    names = {"loss": "the term 'loss'", "gradient": "the gradient of toy.2.bias", "output": "the output of toy.0"}
    with pytest.raises(NonFiniteError, match="step 5") as caught:
        train([toy.toy_stage(model, STAGE, loss=loss)], toy.toy_config(), tmp_path)
    assert names[where] in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    facts = json.loads((tmp_path / "guard" / "step-5" / "guard.json").read_text())
    assert (facts["number"], facts["stage"], facts["seed"]) == (4, 0, microbatch_seed(0, 0, 4))
    assert list(facts["ranges"]) == ["0", "1", "2"]
    assert curve(tmp_path, "step") == [1, 2, 3, 4]


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_is_taken(
    tmp_path: Path, toy: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    config = toy.toy_config(checkpoints=CheckpointConfig(minutes=None, steps=2, keep_last=9))
    whole = toy.network()
    train([toy.toy_stage(whole, STAGE)], config, tmp_path)
    places = sorted((tmp_path / "checkpoints").iterdir())
    assert [place.name for place in places] == [f"step-{step:08d}" for step in (2, 4, 6, 8, 10)]
    data = next(places[-1].glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-20])  # truncated
    flipped = bytearray((places[-2] / ".metadata").read_bytes())
    flipped[50] ^= 1
    (places[-2] / ".metadata").write_bytes(flipped)  # one bit
    (places[-3] / "complete.json").unlink()  # killed before it was done
    assert "bytes of" in str(damage(places[-1]))
    assert "has changed" in str(damage(places[-2]))
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint(tmp_path / "checkpoints", ALONE) == places[1]
    assert caplog.text.count("an older one is tried") == 3
    again = toy.network(7)
    train([toy.toy_stage(again, STAGE)], config, tmp_path)
    assert all(map(torch.equal, whole.parameters(), again.parameters()))
    assert curve(tmp_path, "step") == list(range(1, 11))


def test_old_checkpoints_are_pruned_by_the_rule(tmp_path: Path, toy: ModuleType) -> None:
    rule = CheckpointConfig(minutes=None, steps=1, keep_last=2, keep_every_steps=4)
    train([toy.toy_stage(toy.network(), STAGE)], toy.toy_config(checkpoints=rule), tmp_path)
    names = sorted(place.name for place in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-{step:08d}" for step in (4, 8, 9, 10)]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 2 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    tensors = {"x": torch.randn(1000)}
    good = save_checkpoint(tmp_path, tensors, {"step": 1}, ranks=ALONE)
    with full_disk(), pytest.raises(OutputError, match=r"the last good one is .*step-00000001") as caught:
        save_checkpoint(tmp_path, tensors, {"step": 2}, ranks=ALONE)
    assert "\n" not in str(caught.value)
    assert [place.name for place in tmp_path.iterdir()] == ["step-00000001"]
    assert damage(good) is None
    read = {"x": torch.empty(1000)}
    load_tensors(good, read, ranks=ALONE)
    assert torch.equal(read["x"], tensors["x"])
    with pytest.raises(CheckpointError, match="lacks 1 tensors of this run, such as y"):
        load_tensors(good, {"y": torch.empty(2)}, ranks=ALONE)


def test_weights_that_do_not_change_are_warned_of(
    tmp_path: Path, toy: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def stuck(batch: Any, generator: torch.Generator, made: Any) -> dict[str, Tensor]:
        return {"loss": sum(0 * p.sum() for p in model.parameters()) + batch.x.square().mean()}

    model = toy.network()
    config = toy.toy_config(checkpoints=CheckpointConfig(minutes=None, steps=5))
    with caplog.at_level(logging.WARNING):
        train([toy.toy_stage(model, STAGE, loss=stuck)], config, tmp_path / "stuck")
    assert caplog.text.count("the same as 5 steps ago") == 2
    caplog.clear()
    model = toy.network()
    with caplog.at_level(logging.WARNING):
        train([toy.toy_stage(model, STAGE)], config, tmp_path / "moving")
    assert "steps ago" not in caplog.text


def test_samples_are_drawn_from_the_average_and_disturb_nothing(tmp_path: Path, toy: ModuleType) -> None:
    drawn: dict[int, Tensor] = {}

    def draw(weights: dict[str, Tensor], step: int) -> Image.Image:
        drawn[step] = weights["0.weight"].clone()
        torch.randn(step)  # its own noise
        return Image.new("RGB", (4, 4))

    plain, model = toy.network(), toy.network()
    config = toy.toy_config(samples=SampleConfig(prompts=("a",), every_steps=5))
    train([toy.toy_stage(plain, STAGE)], toy.toy_config(), tmp_path / "plain")
    session = Session(config=config, folder=tmp_path / "drawn")
    run_stages([toy.toy_stage(model, STAGE)], session, draw_samples=draw)
    assert list(drawn) == [5, 10]
    assert torch.equal(drawn[10], model[0].weight)
    assert all(map(torch.equal, plain.parameters(), model.parameters()))
    assert sorted(p.name for p in (tmp_path / "drawn" / "samples").iterdir()) == [
        "step-00000005.png", "step-00000010.png",
    ]  # fmt: skip


def test_a_line_of_the_log_says_where_the_time_goes(tmp_path: Path, toy: ModuleType) -> None:
    lines: list[Any] = []
    config = toy.toy_config(log=LogConfig(steps=5, report_to=()))
    train([toy.toy_stage(toy.network(), STAGE)], config, tmp_path, watchers=Watchers(on_log=lines.append))
    assert lines == read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [5, 10]
    assert lines[1].keys() >= CLOCKS | {"loss", "twice", "gradient_norm", "epoch", "samples", "loss/sigma_0.0-0.1"}
    phases = sum(lines[1][f"{name}_seconds"] for name in ("data", "compute", "optimizer", "other"))
    assert lines[1]["samples_per_second"] == pytest.approx(18 / 5 / phases, rel=0.2)  # of 22, one batch has two


@pytest.mark.parametrize("length", [3, 5])
def test_activation_checkpointing_changes_no_number(toy: ModuleType, length: int) -> None:
    gradients = []
    for wrap in (lambda model: None, checkpoint_activations):
        torch.manual_seed(0)
        model = LinearDiT(toy.TOY_DIT)
        wrap(model)
        text = TextCondition(
            torch.randn(2, length, 4, generator=torch.Generator().manual_seed(1)),
            torch.ones(2, length, dtype=torch.bool),
        )
        latent = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(2))
        loss = model(latent, torch.tensor([10.0, 900.0]), model.prepare(text)).square().mean()
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_transformer_learns_two_pictures_along_its_stored_curve(tmp_path: Path, toy: ModuleType) -> None:
    """The whole recipe in miniature, in float64: a change of any formula moves the curve."""
    from sanakit.training.recipes.transformer.initialization import initialize_

    model = LinearDiT(replace(toy.TOY_DIT, num_layers=1, qk_norm=False))
    initialize_(model, torch.Generator().manual_seed(0))
    model.double()
    stage = two_pictures(toy, model, replace(STAGE, batch_size=8, learning_rate=1e-2, steps=60, warmup_steps=5))
    train([stage], toy.toy_config(log=LogConfig(steps=12, report_to=())), tmp_path)
    losses = curve(tmp_path, "loss")
    assert losses == pytest.approx(STORED_CURVE, rel=1e-3)
    assert losses[-1] < 0.2 * losses[0]


STORED_CURVE = [1.952618, 1.034868, 0.699360, 0.363933, 0.205302]


def two_pictures(toy: ModuleType, model: nn.Module, config: StageConfig) -> Any:
    """Two prompts, two latents, four times each."""
    from sanakit.features.batches import LatentBatch
    from sanakit.training.objectives.flow_matching import FlowMatchingConfig, flow_matching_loss
    from sanakit.training.optimizers import AdamWConfig
    from sanakit.training.step.trainee import Stage, Trainee

    latent = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1)).repeat(4, 1, 1, 1).double()
    text = TextCondition(torch.eye(4)[:2, None].repeat(4, 1, 1).double(), torch.ones(8, 1, dtype=torch.bool))

    class Same(toy.ToyData):  # type: ignore[misc, name-defined]
        def batch(self, number: int) -> LatentBatch:
            return LatentBatch(latent, text)

    def loss(batch: LatentBatch, generator: torch.Generator, made: Any) -> Any:
        prepared = model.prepare(batch.text)
        return flow_matching_loss(
            lambda noisy, timestep: model(noisy, timestep, prepared),
            batch.latent,
            generator,
            config=FlowMatchingConfig(),
        )

    trainee = Trainee("transformer", model, loss, AdamWConfig(betas=(0.9, 0.99), weight_decay=0.0))
    return PlannedStage(config, lambda: Stage(config, Prefetched(Same(8, 8)), (trainee,), True))


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (StageConfig, {"steps": None}),
        (StageConfig, {"steps": 0}),
        (StageConfig, {"minutes": 0.0}),
        (StageConfig, {"batch_size": 0}),
        (StageConfig, {"learning_rate": float("nan")}),
        (StageConfig, {"decay": 1.5}),
        (StageConfig, {"name": "a/b"}),
        (StageConfig, {"accumulation": 0}),
        (RunConfig, {"gradient_clip": 0.0}),
        (RunConfig, {"ema_decay": 1.0}),
        (RunConfig, {"seed": -1}),
        (LogConfig, {"steps": 0}),
        (CheckpointConfig, {"keep_last": 0}),
        (CheckpointConfig, {"minutes": -1.0}),
        (SampleConfig, {"every_steps": 0}),
    ],
    ids=str,
)
def test_configs_that_cannot_work_are_refused(make: Callable[..., Any], wrong: dict[str, Any]) -> None:
    good = {"name": "a", "batch_size": 1, "learning_rate": 1.0, "steps": 1} if make is StageConfig else {}
    with pytest.raises(ConfigError):
        make(**{**good, **wrong})


def test_bands_of_noise_count_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two windows as of two processes: the line has the means over both, also after a save and on one process."""
    ranks = [Ranks(0, 2), Ranks(1, 2)]
    windows = [Window(ranks=rank) for rank in ranks]
    windows[0].buckets.add(torch.tensor([0.05, 0.05]), torch.tensor([1.0, 2.0]))
    windows[1].buckets.add(torch.tensor([0.05, 0.95]), torch.tensor([6.0, 4.0]))
    shares: list[list[float]] = []

    def sum_of_both(values: list[float], ranks: Ranks) -> list[float]:
        if ranks.world == 1:
            return values
        shares.append(list(values))
        return [sum(column) for column in zip(*shares, strict=True)]

    monkeypatch.setattr("sanakit.training.watching.run_log.sum_over_ranks", sum_of_both)
    windows[0].to_json()
    saved = windows[1].to_json()
    expected = {"loss/sigma_0.0-0.1": 3.0, "loss/sigma_0.9-1.0": 4.0}
    assert Window(saved).bands() == expected
    shares.clear()
    Window(saved, ranks[0]).bands()
    assert Window(saved, ranks[1]).bands() == expected


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, ALONE) is None
    for step in (2, 4):
        (save_checkpoint(tmp_path, {"a": torch.ones(3)}, {"step": step}, ranks=ALONE) / "state.json").unlink()
    with pytest.raises(CheckpointError, match="the run cannot go on"):
        find_checkpoint(tmp_path, ALONE)
