"""Distillation for few steps: the student it begins with, a short run, its continuation, what is refused."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import sanakit
from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.opening import load_bundle
from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError
from sanakit.common.progress import no_progress
from sanakit.layers.embeddings import ScalarEmbedding
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.objectives import consistency, ladd
from sanakit.training.recipes.replay import replay_bundle
from sanakit.training.recipes.sprint.adaptation import refit_
from sanakit.training.recipes.sprint.distillation import Distillation, student_of
from sanakit.training.recipes.sprint.recipe import SprintRecipe
from sanakit.training.recipes.sprint.report import Drawn, held_out_scores
from sanakit.training.recipes.train import train
from sanakit.training.saving.guard import NonFiniteError
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.world_scenes import WorldScenes

WEIGHTS = "diffusion_pytorch_model.safetensors"
STAGE = {
    "name": "distil", "resolutions": [64], "batch_size": 2, "accumulation": 2, "learning_rate": 1e-3, "steps": 2,
    "warmup_steps": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def teacher(tiny_bundle: ModelBundle) -> LinearDiT:
    torch.manual_seed(7)
    return LinearDiT(replace(tiny_bundle.transformer.config, qk_norm=True, timestep_scale=0.001)).requires_grad_(False)


@pytest.fixture
def settings(tmp_path: Path, tiny_model: Path, teacher: LinearDiT) -> dict[str, Any]:
    """A teacher, three pictures, and a run of five steps."""
    save_bundle(replace(load_bundle(tiny_model), transformer=teacher), tmp_path / "teacher")
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{index}.png")
        (tmp_path / "photos" / f"{index}.txt").write_text(f"picture {index}")
    return {
        "init": str(tmp_path / "teacher"),
        "data": {"type": "files", "path": str(tmp_path / "photos")},
        "objective": {"tangent_warmup": 2},
        "precision": "fp32",
        "ema_decay": 0.0,
        "log": {"steps": 1, "report_to": []},
        "checkpoints": {"minutes": None, "steps": 3, "keep_last": 9},
        "samples": {"prompts": ["a cat"], "every_steps": 4, "steps": 2},
        "stages": [STAGE | {"steps": 5}],
    }


@pytest.fixture(autouse=True)
def unplanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs here begin without a plan of memory, which takes seconds; it has tests of its own."""
    monkeypatch.setattr(SprintRecipe, "workloads", lambda self, device: [])


@pytest.mark.parametrize("scale", [0.0, 4.5, 100.0])
def test_the_student_begins_as_its_teacher_whatever_it_is_told(teacher: LinearDiT, scale: float) -> None:
    student = student_of(teacher)
    generator = torch.Generator().manual_seed(0)
    latent, time = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([900.0, 300.0])
    text = TextCondition(torch.randn(2, 5, 32, generator=generator), torch.ones(2, 5, dtype=torch.bool))
    with torch.no_grad():
        expected = teacher(latent, time, teacher.prepare(text))
        student.requires_grad_(False)
        assert torch.equal(student(latent, time, student.prepare(text).with_guidance(scale)), expected)


def test_a_run_leaves_a_model_of_few_steps_and_continues_to_the_bit(tmp_path: Path, settings: dict[str, Any]) -> None:
    recipe, run = from_mapping(SprintRecipe, settings), tmp_path / "run"
    train(recipe, run)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    own, others = lines[::2], lines[1::2]  # student and judge take turns
    assert all(0 < line["tangent"] < 1e3 and "adversarial" in line and "heads/loss" not in line for line in own)
    assert all(0 < line["heads/loss"] < 9 and "loss" not in line for line in others)
    assert [path.name for path in (run / "samples").iterdir()] == ["step-00000004.png"]
    report = (run / "report.md").read_text()
    assert "| heads/real |" in report
    assert "![sheet.png](sheet.png)" in report
    assert "| right, " not in report  # of photographs nobody knows what is right
    pipeline = sanakit.load(run / "model")
    card = pipeline.bundle.card
    assert (card.family, card.distilled, card.defaults.solver, card.defaults.pag_layers) == (
        "sana-sprint", True, "scm", (),
    )  # fmt: skip
    assert card.trained_from.startswith("tiny (")
    drawn = pipeline("a cat", seed=1, output="latent").images[0]
    assert drawn.record.request.num_inference_steps == 2
    config = json.loads((run / "model" / "transformer" / "config.json").read_text())
    assert (config["guidance_embeds"], config["timestep_scale"]) == (True, 1.0)  # as diffusers' Sprint means it
    weights = run / "model" / "transformer" / WEIGHTS
    first = load_file(weights)
    assert first["time_embed.guidance_embedder.linear_2.weight"].any()
    shutil.rmtree(run / "checkpoints" / "step-00000005")  # killed after the third: next is the judge's turn
    weights.unlink()
    train(recipe, run)
    again = load_file(weights)
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())


def test_a_student_may_learn_as_an_adapter_over_its_teacher(
    tmp_path: Path, settings: dict[str, Any], tiny_model: Path
) -> None:
    """Which is trained first here; the model that is left has both, and a killed run continues to the bit."""
    stages = [STAGE | {"name": "adapt", "trains": "teacher"}, STAGE | {"name": "distil", "steps": 3}]
    targets = ["to_q", "to_k", "to_v", "time_embed.guidance_embedder.linear_2"]
    changed = {"init": str(tiny_model), "stages": stages, "adapter": {"rank": 2, "targets": targets}, "samples": {}}
    recipe = from_mapping(SprintRecipe, settings | changed | {"adaptation": {"tolerance": 9.0, "num_samples": 2}})
    run = tmp_path / "run"
    train(recipe, run)
    weights = run / "model" / "transformer" / WEIGHTS
    first = load_file(weights)
    shutil.rmtree(run / "checkpoints" / "step-00000005")  # killed after the third, when the judge had not learned yet
    weights.unlink()
    train(recipe, run)
    again = load_file(weights)
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    assert first["time_embed.guidance_embedder.linear_2.weight"].any()
    pipeline = sanakit.load(run / "model")
    assert pipeline("a cat", seed=1, output="latent").images[0].record.request.num_inference_steps == 2
    with pytest.raises(ConfigError, match="fsdp does not go together with adapter: of a student"):
        replace(recipe, parallel="fsdp")


def test_a_student_with_an_adapter_has_its_teachers_weights_and_learns_nothing_else(
    teacher: LinearDiT, settings: dict[str, Any]
) -> None:
    distillation = Distillation(teacher, from_mapping(SprintRecipe, settings | {"adapter": {"rank": 2}}))
    assert distillation.adapter is not None
    assert distillation.student.patch_embed.weight is distillation.teacher.patch_embed.weight
    learned = {id(each) for each in distillation.adapter.parameters()}
    shares = {id(each) for each in [*distillation.student.parameters(), *distillation.teacher.parameters()]}
    assert {id(each) for each in distillation.parameters() if each.requires_grad} >= learned
    assert not learned & shares
    assert not any(each.requires_grad for each in distillation.student.parameters())
    with torch.no_grad():
        for parameter in distillation.adapter.parameters():
            parameter.add_(0.1)
    latent, time = drawn(2, 4, 8, 8), torch.tensor([900.0, 300.0])
    text = TextCondition(drawn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool))
    whole = LinearDiT(distillation.student.config)
    whole.load_state_dict(dict(distillation.whole_student(distillation.adapter.state_dict())))
    with torch.no_grad():
        found, expected = (
            network(latent, time, network.prepare(text).with_guidance(4.5)) for network in (distillation.student, whole)
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "function", "good", "step"), [(consistency, "tangent_of", 2, 3), (ladd, "discriminator_loss", 0, 2)]
)
def test_a_number_that_is_none_stops_it_and_is_met_again(
    tmp_path: Path,
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    function: str,
    good: int,
    step: int,
) -> None:
    """In the student's turn and in the judge's; the bundle holds all networks as they were."""
    calls, right = iter(range(99)), getattr(module, function)

    def spoilt(*given: Any, **named: Any) -> Any:
        return right(*given, **named) * (math.inf if next(calls) >= good else 1.0)

    monkeypatch.setattr(module, function, spoilt)
    with pytest.raises(NonFiniteError, match=f"step {step} has a loss"):
        train(from_mapping(SprintRecipe, settings), tmp_path / "run")
    found = replay_bundle(tmp_path / "run" / "guard" / f"step-{step}")
    assert found.is_reproduced
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"adversarial": {"weight": 0.0}, "activation_checkpointing": True},
        {"objective": {"weight": 0.0}},
        {"guidance_embedding": False},
    ],
    ids=["consistency alone", "judge alone", "not told the guidance"],
)
def test_each_half_runs_alone(tmp_path: Path, settings: dict[str, Any], change: dict[str, Any]) -> None:
    settings = settings | {"samples": {}, "stages": [STAGE]} | change
    train(from_mapping(SprintRecipe, settings), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert ("tangent" in lines[0], "adversarial" in lines[0]) == (
        "objective" not in change, change.get("adversarial") is None,
    )  # fmt: skip
    assert ("loss" in lines[1]) == ("adversarial" in change)  # without a judge every step is the student's
    pipeline = sanakit.load(tmp_path / "run" / "model")
    assert pipeline("a cat", seed=1, output="latent").images[0].record.request.num_inference_steps == 2


def test_what_the_judge_feels_reaches_the_student_through_the_teacher(
    teacher: LinearDiT, settings: dict[str, Any]
) -> None:
    """The frozen teacher reads texts folded together; its gradients are those of the plain network, and it has none."""
    distillation = Distillation(teacher, from_mapping(SprintRecipe, settings))
    text = TextCondition(drawn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool))
    told = teacher.prepare(text)
    gradients = []
    for condition in (told, replace(told, folded=())):
        latent = drawn(2, 4, 8, 8).requires_grad_()
        distillation.judge(condition)(latent, torch.tensor([0.3, 1.2])).mean().backward()
        gradients.append(latent.grad)
    assert gradients[0] is not None
    assert gradients[0].any()
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-7)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"compile": True}, "compile: True knows no forward mode"),
        (
            {"stages": [STAGE, STAGE | {"name": "late", "trains": "teacher"}]},
            "stages that train the teacher come before",
        ),
        ({"stages": [STAGE | {"interpolation_scale": 2.0}]}, "interpolation_scale: has no part"),
        ({"adaptation": {"tolerance": 0.0}}, "tolerance=0.0"),
        ({"guidance_scales": []}, r"guidance_scales=\[\] must be numbers from 0 up"),
        ({"standardise_text": True}, "a sprint recipe distils init: as it is"),
        ({"objective": {"tangent_floor": 0}}, "tangent_floor=0"),
    ],
)
def test_what_cannot_be_distilled_so(settings: dict[str, Any], change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        from_mapping(SprintRecipe, settings | change)


def test_a_teacher_that_is_told_a_thousand_times_the_level_is_adapted_first(
    tmp_path: Path, settings: dict[str, Any], teacher: LinearDiT
) -> None:
    """Its embedding of time is fitted to the old one; what it learns after that is measured, and the run goes on to the
    bit from the end of the stage."""
    given = LinearDiT(replace(teacher.config, timestep_scale=1.0))
    given.load_state_dict(teacher.state_dict())
    save_bundle(replace(load_bundle(tmp_path / "teacher"), transformer=given), tmp_path / "given")
    settings |= {"init": str(tmp_path / "given"), "samples": {}, "adaptation": {"num_samples": 8, "tolerance": 0.3}}
    with pytest.raises(ConfigError, match="timestep_scale is 1: 1000 times the noise level blows"):
        train(from_mapping(SprintRecipe, settings), tmp_path / "run")
    adapt = STAGE | {"name": "adapt", "trains": "teacher", "learning_rate": 1e-5, "steps": 3}
    settings["stages"] = [adapt, STAGE]
    strict = settings | {"adaptation": {"num_samples": 8, "tolerance": 1e-6}}
    with pytest.raises(ConfigError, match="the adapted teacher differs from what it was by"):
        train(from_mapping(SprintRecipe, strict), tmp_path / "run")
    train(from_mapping(SprintRecipe, settings), tmp_path / "run")
    assert 0 < json.loads((tmp_path / "run" / "teacher.json").read_text())["velocity_error"] < 0.3
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert ["tangent" in line for line in lines] == [False, False, False, True, False]
    train(from_mapping(SprintRecipe, settings), tmp_path / "whole")
    files = [tmp_path / run / "model" / "transformer" / WEIGHTS for run in ("run", "whole")]
    first, second = map(load_file, files)
    assert all(torch.equal(first[name], tensor) for name, tensor in second.items())


def test_held_out_prompts_are_read_from_what_each_draws() -> None:
    scenes = WorldScenes(load_bank("tiny"), "heldout", 1)
    painted = {sample.caption: sample.image for sample in map(scenes.sample, range(6))}
    drawers = [
        Drawn("truth", lambda prompts, seeds: [painted[prompt] for prompt in prompts]),
        Drawn("nothing", lambda prompts, seeds: [np.full((128, 128, 3), 255, np.uint8)] * len(prompts)),
    ]
    scores = held_out_scores(drawers, scenes, 6, on_progress=no_progress)
    assert scores["truth"].mean > 0.5 > scores["nothing"].mean == 0
    assert scores["truth"].num_samples == 6


def test_the_embedding_of_time_is_fitted_to_the_old_one() -> None:
    torch.manual_seed(0)
    before, embedding = ScalarEmbedding(64).requires_grad_(False), ScalarEmbedding(64).requires_grad_(False)
    before.linear_1.weight[:, :64] = before.linear_1.weight[:, 128:192] = 0.0  # smooth, as a trained one
    refit_(embedding, before, scale=1000.0)
    levels = torch.linspace(0, 1, 301)
    wanted, found = before(1000 * levels), embedding(levels)
    assert (found - wanted).norm() / wanted.norm() < 0.05


def test_a_teacher_alone_is_a_model_of_many_steps(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings |= {"samples": {}, "stages": [STAGE | {"trains": "teacher"}]}
    settings |= {"adaptation": {"target": "data", "tolerance": 9.0, "num_samples": 4}}
    train(from_mapping(SprintRecipe, settings), tmp_path / "run")
    card = sanakit.load(tmp_path / "run" / "model").bundle.card
    assert (card.distilled, card.defaults.solver) == (False, "flow-dpm")
