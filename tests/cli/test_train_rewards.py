"""Learning from rewards in miniature: a run of each algorithm, its records, its continuation, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.opening import load_bundle
from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError, SanakitError
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.layers import QuantizedLayer
from sanakit.training.objectives import nft
from sanakit.training.recipes.replay import replay_bundle
from sanakit.training.recipes.rl.on_ray import RayRollouts
from sanakit.training.recipes.rl.recipe import Rewarding, RLRecipe
from sanakit.training.recipes.train import train
from sanakit.training.rollouts.feed import Rollouts
from sanakit.training.run.session import Session
from sanakit.training.saving.guard import NonFiniteError
from sanakit.training.step.feeds import StepPlan

WEIGHTS = Path("model") / "transformer" / "diffusion_pytorch_model.safetensors"
REWARD = """
import numpy as np

def light(pictures, prompts, metadata):
    return [float(np.asarray(each).mean()) / 255 for each in pictures]

def broken(pictures, prompts, metadata):
    return [float("nan")] * len(pictures)
"""


@pytest.fixture
def settings(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """Two iterations of two prompts with three pictures each, of which two are learned from at two levels."""
    (tmp_path / "mine.py").write_text(REWARD)
    (tmp_path / "prompts.txt").write_text("a zyx\n\na wvu\na tsr\n")
    (tmp_path / "held.jsonl").write_text('{"prompt": "a cow", "tag": "animals"}\n')
    return {
        "init": str(tiny_model),
        "prompts": {"type": "list", "path": str(tmp_path / "prompts.txt"), "held_out": str(tmp_path / "held.jsonl")},
        "rewards": [{"name": f"{tmp_path / 'mine.py'}:light"}],
        "rollout": {"prompts": 2, "candidates": 3, "keep": 2, "steps": 3, "updates": 2},
        "algorithm": {"type": "nft", "levels": 0.7},
        "precision": "fp32",
        "ema_decay": 0.0,
        "log": {"steps": 1, "captions": 2, "report_to": []},
        "checkpoints": {"minutes": None, "steps": 1, "keep_last": 9},
        "samples": {"prompts": ["a cat"], "every_steps": 4, "steps": 2},
        "stages": [{"name": "learn", "resolution": 64, "batch_size": 2, "learning_rate": 1e-3, "steps": 4,
                    "warmup_steps": 0}],
    }  # fmt: skip


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_improves_a_model_and_continues_to_the_bit_wherever_it_was_killed(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    recipe, run = from_mapping(RLRecipe, settings), tmp_path / "run"
    train(recipe, run)
    lines = lines_of(run)
    assert len(lines) == 4
    part = next(key for key in lines[0] if key.startswith("reward/"))
    assert lines[0]["reward"] == pytest.approx(lines[0][part])
    assert 0 <= lines[1][f"held_out/{part.removeprefix('reward/')}"] <= 1
    report = (run / "report.md").read_text()
    assert "score, before" in report
    assert "score, after" in report
    rows = pq.read_table(run / "rollouts" / "iteration-000001.parquet").to_pylist()
    assert len(rows) == 6
    assert sum(row["kept"] for row in rows) == 4
    assert all((row["advantage"] is not None) == row["kept"] for row in rows)
    assert {row["prompt"] for row in rows} <= {"a zyx", "a wvu", "a tsr"}
    assert rows[0]["sigmas"][-1] == 0
    assert json.loads(rows[0]["sampler"])["num_steps"] == 3
    assert len({row["revision"] for row in rows}) == 1
    assert len({row["seed"] for row in rows}) == 6
    expected = load_file(run / WEIGHTS)
    # killed within the second iteration; before it, with its rollouts there, in part there, or gone
    buffer = run / "rollouts" / "buffer" / "000001"
    for step, lost in ((3, []), (2, []), (2, ["0001.safetensors"]), (1, ["0000.safetensors", "0001.safetensors"])):
        for later in range(step + 1, 5):
            shutil.rmtree(run / "checkpoints" / f"step-{later:08d}", ignore_errors=True)
        for name in lost:
            (buffer / name).unlink()
        train(replace(recipe, report_prompts=0, tested_prompts=0), run)
        again = load_file(run / WEIGHTS)
        assert all(torch.equal(again[name], tensor) for name, tensor in expected.items()), (step, lost)


def begun(settings: dict[str, Any], folder: Path) -> tuple[Rewarding, Rollouts]:
    """A run before its first step."""
    from sanakit.training.recipes.transformer.starting_model import starting_model

    recipe = from_mapping(RLRecipe, settings)
    run = Rewarding(recipe, starting_model(recipe, "cpu"), Session(config=recipe, folder=folder))
    stage = run.build_stage(recipe.stages[0], lambda whose, parts: None)
    assert isinstance(stage.feed, Rollouts)
    return run, stage.feed


def taken(feed: Rollouts, number: int) -> Any:
    [batch] = feed.take(StepPlan(number, (number,), (1.0,), 1, feed.num_samples(number)))
    return batch


@pytest.mark.parametrize("adapter", [None, {"rank": 2}])
def test_a_rollout_is_the_picture_that_the_model_makes_of_its_seed(
    tmp_path: Path, settings: dict[str, Any], adapter: dict[str, Any] | None
) -> None:
    """To the bit: the latents that are learned from, and what the reward saw."""
    _, feed = begun({**settings, "adapter": adapter}, tmp_path / "run")
    taken(feed, 0)
    bundle = load_bundle(settings["init"])
    card = replace(bundle.card, defaults=replace(bundle.card.defaults, base_size=64))
    pipeline = TextToImagePipeline(replace(bundle, card=card))
    seen = 0
    for number in range(2):
        group = feed.maker.buffer.find(0, number, f"{feed.maker.stamp} {feed.maker.engine.revision}")
        assert group is not None
        requests = [
            GenerationRequest(prompt=row["prompt"], seed=row["seed"], num_inference_steps=3, guidance_scale=1.0)
            for row in group.full
        ]
        for place, (image, row) in enumerate(zip(pipeline(requests).images, group.full, strict=True)):
            assert torch.equal(image.latent[0], group.last_latent(place))
            light = float(np.asarray(image.picture).mean()) / 255
            assert next(iter(row["marks"].values())) == light
            seen += 1
    assert seen == 6


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": {"type": "grpo", "kl": 0.1}, "rollout": {"prompts": 2, "candidates": 2, "steps": 3}},
        {"algorithm": {"type": "grpo", "kind": "cps", "window": 1}, "adapter": {"rank": 2},
         "rollout": {"prompts": 2, "candidates": 2, "steps": 4, "guidance_scale": 2.0}},
        {"algorithm": {"type": "sft"}, "rollout": {"prompts": 2, "candidates": 3, "keep": 1, "select": "best"}},
        {"explore": {"candidates": 5, "steps": 2, "scheme": "int8"}, "adapter": {"rank": 2}},
    ],
    ids=["grpo", "grpo-window-adapter-guidance", "sft", "sol-rl-adapter"],
)  # fmt: skip
def test_every_algorithm_runs_and_continues(tmp_path: Path, settings: dict[str, Any], change: dict[str, Any]) -> None:
    plain = {**settings, "samples": {}, "report_prompts": 0, "tested_prompts": 0, **change}
    plain["stages"] = (
        [{**settings["stages"][0], "batch_size": 1 if change["algorithm"] == {"type": "sft"} else 2}]
        if ("algorithm" in change)
        else settings["stages"]
    )
    recipe, run = from_mapping(RLRecipe, plain), tmp_path / "run"
    train(recipe, run)
    lines = lines_of(run)
    assert all(np.isfinite(line["loss"]) for line in lines)
    if "grpo" in str(change):
        assert lines[0]["drift"] == 0  # the first step of an iteration is on its policy, to the bit
    result = run / ("adapter" if change.get("adapter") else WEIGHTS)
    files = sorted(result.rglob("*.safetensors")) if result.is_dir() else [result]
    expected = [load_file(file) for file in files]
    for later in (2, 3, 4):
        shutil.rmtree(run / "checkpoints" / f"step-{later:08d}", ignore_errors=True)
    train(recipe, run)
    for file, tensors in zip(files, expected, strict=True):
        again = load_file(file)
        assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_explorers_with_weights_in_eight_bits_work_in_bfloat16(tmp_path: Path, settings: dict[str, Any]) -> None:
    explore = {"candidates": 3, "steps": 2, "scheme": "int8-weight"}
    _, feed = begun({**settings, "precision": "bf16", "explore": explore}, tmp_path / "run")
    taken(feed, 0)
    assert feed.maker.explorer is not None
    layers = [each for each in feed.maker.explorer.transformer.modules() if isinstance(each, QuantizedLayer)]
    assert {each.bias.dtype for each in layers if each.bias is not None} == {torch.bfloat16}


def test_without_held_out_prompts_nothing_is_tested(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor drawn for the report, for which no model is read then; and no rollout hashes one."""

    def refused(*args: Any) -> None:
        raise AssertionError("is not needed")

    monkeypatch.setattr("sanakit.training.recipes.rl.report.TextToImagePipeline", refused)
    monkeypatch.setattr(ModelBundle, "hash_memory", refused)
    listed = {name: value for name, value in settings["prompts"].items() if name != "held_out"}
    (tmp_path / "strict.py").write_text(
        REWARD.replace("metadata):\n", "metadata):\n    assert pictures, 'no pictures'\n")
    )
    rewards = [{"name": f"{tmp_path / 'strict.py'}:light"}]
    stages, log = [{**settings["stages"][0], "steps": 2}], {**settings["log"], "captions": 1}
    plain = {**settings, "prompts": listed, "rewards": rewards, "samples": {}, "stages": stages, "log": log}
    train(from_mapping(RLRecipe, plain), tmp_path / "run")
    assert not [key for line in lines_of(tmp_path / "run") for key in line if key.startswith("held_out/")]


def test_exploration_chooses_seeds_and_never_comes_near_the_loss(tmp_path: Path, settings: dict[str, Any]) -> None:
    _, feed = begun({**settings, "explore": {"candidates": 6, "steps": 2, "scheme": "int8"}}, tmp_path / "run")
    batch = taken(feed, 0)
    maker = feed.maker
    assert maker.explorer is not None
    group = maker.buffer.find(0, 0, f"{maker.stamp} {maker.engine.revision}")
    assert group is not None
    explored = [row for row in group.records if row["stage"] == "explore"]
    assert [row["precision"] for row in explored] == ["int8"] * 6
    marks = [next(iter(row["marks"].values())) for row in explored]
    order = sorted(range(6), key=lambda place: -marks[place])
    chosen = {explored[place]["seed"] for place in (order[0], *order[-2:])}  # the best, and one more of the worst
    assert {row["seed"] for row in group.full} == chosen
    # latents of the loss are those of the full engine; the seed gives the same noise to both
    assert any(torch.equal(batch.learned.latent[0], group.last_latent(place)) for place in range(3)) or any(
        torch.equal(batch.learned.latent[0], other.last_latent(place))
        for other in [maker.buffer.find(0, 1, f"{maker.stamp} {maker.engine.revision}")]
        if other is not None
        for place in range(3)
    )
    assert -1 <= batch.facts["rank_agreement"] <= 1


def test_exploration_in_full_says_what_the_full_rollout_says(tmp_path: Path, settings: dict[str, Any]) -> None:
    explore = {"candidates": 4, "steps": 3, "scheme": None}
    _, feed = begun({**settings, "explore": explore}, tmp_path / "run")
    batch = taken(feed, 0)
    maker = feed.maker
    for number in range(2):
        group = maker.buffer.find(0, number, f"{maker.stamp} {maker.engine.revision}")
        assert group is not None
        first = {row["seed"]: row["marks"] for row in group.records if row["stage"] == "explore"}
        assert all(row["marks"] == first[row["seed"]] for row in group.full)
    for name in ("rank_agreement", "rank_agreement/all"):
        assert batch.facts[name] == pytest.approx(1.0)


def test_the_weights_of_rollouts_stay_within_an_iteration_and_follow_after_it(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    run, feed = begun({**settings, "old": "none"}, tmp_path / "run")
    taken(feed, 0)
    revision = feed.maker.engine.revision
    with torch.no_grad():
        for parameter in run.policy.learner.parameters():
            parameter.add_(0.01)
    taken(feed, 1)
    assert feed.maker.engine.revision == revision
    taken(feed, feed.layout.num_batches)
    assert feed.maker.engine.revision != revision
    weights, _ = run.policy.weights(run.policy.learner)
    assert all(
        torch.equal(tensor, weights[name]) for name, tensor in feed.maker.engine.transformer.state_dict().items()
    )


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rollout": {"prompts": 2, "candidates": 3, "keep": 2, "updates": 3}}, ConfigError, "3 updates on 1 process"),
        ({"algorithm": {"type": "sft"}}, ConfigError, "rollout.select must be best"),
        ({"algorithm": {"type": "grpo"}, "rollout": {"solver": "flow-dpm"}}, ConfigError, "rollout.solver"),
        ({"rewards": []}, ConfigError, "rewards: give one or more"),
        ({"rewards": [{"name": "reader"}]}, ConfigError, "reward reader has nothing to say of these prompts"),
        ({"explore": {"candidates": 2}}, ConfigError, "explore.candidates=2 must be at least rollout.candidates=3"),
        ({"explore": {"scheme": "int3"}}, SanakitError, "no way to quantize called 'int3'"),
        ({"init": None, "model": {}}, ConfigError, "improves init: as it is|misses the required"),
        ({"prompts": {"type": "list", "path": "nowhere.txt"}}, SanakitError, "nowhere.txt cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_sentence(
    tmp_path: Path, settings: dict[str, Any], change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        train(from_mapping(RLRecipe, {**settings, **change}), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_reward_that_is_no_number_names_prompt_and_seed(tmp_path: Path, settings: dict[str, Any]) -> None:
    recipe = from_mapping(RLRecipe, {**settings, "rewards": [{"name": f"{tmp_path / 'mine.py'}:broken"}]})
    with pytest.raises(SanakitError, match=r"broken gave nan \(score\) for '[a-z ]+' \(seed \d+\)"):
        train(recipe, tmp_path / "run")


@pytest.mark.slow
def test_actors_on_ray_make_the_same_rollouts_though_one_is_killed(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    rollout = {"prompts": 4, "candidates": 3, "keep": 2, "steps": 3, "updates": 2}
    explore = {"candidates": 5, "steps": 2, "scheme": "int8"}
    plain = {**settings, "samples": {}, "report_prompts": 0, "rollout": rollout, "explore": explore}
    train(from_mapping(RLRecipe, plain), tmp_path / "here")
    killed, call = [], RayRollouts.__call__

    def interrupted(self: RayRollouts, iteration: int, numbers: Any) -> Any:
        for found in call(self, iteration, numbers):
            if not killed:
                ray.kill(self.actors[0], no_restart=False)
                killed.append(iteration)
            yield found

    monkeypatch.setattr(RayRollouts, "__call__", interrupted)
    train(from_mapping(RLRecipe, {**plain, "ray": {"actors": 2}}), tmp_path / "there")
    assert killed
    assert not ray.is_initialized()
    here, there = (load_file(tmp_path / name / WEIGHTS) for name in ("here", "there"))
    assert all(torch.equal(there[name], tensor) for name, tensor in here.items())
    rows = [pq.read_table(tmp_path / name / "rollouts" / "iteration-000001.parquet") for name in ("here", "there")]
    assert rows[0].equals(rows[1])


@pytest.mark.slow
def test_a_reward_that_fails_on_ray_is_one_sentence(tmp_path: Path, settings: dict[str, Any]) -> None:
    ray = pytest.importorskip("ray")
    broken = {"rewards": [{"name": f"{tmp_path / 'mine.py'}:broken"}], "ray": {"actors": 1}}
    with pytest.raises(SanakitError, match=r"broken gave nan \(score\) for '[a-z ]+' \(seed \d+\)"):
        train(from_mapping(RLRecipe, {**settings, "samples": {}, **broken}), tmp_path / "run")
    assert not ray.is_initialized()


@pytest.mark.parametrize("parallel", [pytest.param(each, marks=pytest.mark.slow) for each in ("ddp", "fsdp")])
def test_two_processes_share_an_iteration(tmp_path: Path, settings: dict[str, Any], parallel: str) -> None:
    """Each rolls out its prompts, both learn from all: what one does alone, up to rounding."""
    stage = {**settings["stages"][0], "batch_size": 1, "steps": 3}
    both = {
        **settings,
        "stages": [stage],
        "samples": {},
        "report_prompts": 0,
        "parallel": parallel,
        "adapter": {"rank": 2},
    }
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom sanakit.common.config import from_mapping\n"
        "from sanakit.training.recipes.rl.recipe import RLRecipe\nfrom sanakit.training.recipes.train import train\n"
        "train(from_mapping(RLRecipe, json.loads(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    command = [sys.executable, "-c", code, json.dumps(both), str(tmp_path / "two")]
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    processes = [subprocess.Popen(command, env=shared | rank, stderr=subprocess.PIPE, text=True) for rank in ranks]
    train(from_mapping(RLRecipe, {**both, "parallel": "auto"}), tmp_path / "one")
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
    one, two = lines_of(tmp_path / "one"), lines_of(tmp_path / "two")
    assert len(one) == len(two) == 3
    for name in ("loss", "reward", "group_deviation"):
        assert [line[name] for line in two] == pytest.approx([line[name] for line in one], rel=1e-3)
    assert one[0]["reward"] == two[0]["reward"]  # the same pictures, whoever made them
    files = [tmp_path / run / "adapter" / "pytorch_lora_weights.safetensors" for run in ("one", "two")]
    first, second = map(load_file, files)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("adapter", [None, {"rank": 2}])
def test_a_step_that_is_no_number_is_kept_and_made_again(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, adapter: dict[str, Any] | None
) -> None:
    good = nft.contrast

    def bad(now: Tensor, before: Tensor, *others: Any, **settings: Any) -> Tensor:
        """Of weights that have moved."""
        found = good(now, before, *others, **settings)
        return found if torch.equal(now, before) else found * float("nan")

    monkeypatch.setattr(nft, "contrast", bad)
    plain = {**settings, "adapter": adapter, "samples": {}, "report_prompts": 0, "tested_prompts": 0}
    with pytest.raises(NonFiniteError, match="step 2 has a loss of nan"):
        train(from_mapping(RLRecipe, plain), tmp_path / "run")
    assert replay_bundle(tmp_path / "run" / "guard" / "step-2").is_reproduced


def test_what_the_network_is_told_is_what_it_was_told_in_the_rollout(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Flow-DPM tells whole numbers; the first step's velocity is then the pipeline's."""
    _, feed = begun(settings, tmp_path / "run")
    batch = taken(feed, 0)
    schedule = feed.maker.plans_of(0)[0].solver.schedule()
    assert batch.learned.time.tolist() == [
        schedule.timesteps[min(range(3), key=lambda step: abs(schedule.sigmas[step] - sigma))]
        for sigma in batch.learned.sigma.tolist()
    ]
