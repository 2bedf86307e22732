"""Learning from rewards of clips: rollouts are the pipeline's clips, and rewards see them whole or by frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sanakit.checkpoints.bundle import save_bundle
from sanakit.checkpoints.opening import load_bundle
from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.models.transformers.video_dit2 import VideoDiT2, VideoDiT2Config
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.request import VideoRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.scoring.rewards.panel import Panel, RewardConfig
from sanakit.scoring.rewards.reward import Clip, RewardError
from sanakit.training.recipes.rl.recipe import Rewarding, RLRecipe
from sanakit.training.recipes.train import train
from sanakit.training.recipes.transformer.starting_model import starting_model
from sanakit.training.run.session import Session

WEIGHTS = Path("model") / "transformer" / "diffusion_pytorch_model.safetensors"
REWARD = """
import numpy as np

def change(clips, prompts, metadata):
    return [float(np.abs(np.diff(each.frames.astype(float), axis=0)).mean()) for each in clips]

change.of_clips = True
"""


@pytest.fixture
def settings(tmp_path: Path, clip_model: Path) -> dict[str, Any]:
    (tmp_path / "mine.py").write_text(REWARD)
    return {
        "init": str(clip_model),
        "prompts": {"type": "scenes", "bank": "tiny", "moving": True},
        "rewards": [{"name": f"{tmp_path / 'mine.py'}:change"}, {"name": "jpeg", "weight": 0.1}],
        "rollout": {"prompts": 2, "candidates": 2, "steps": 2, "frames": 5, "updates": 1},
        "algorithm": {"type": "nft", "levels": 1.0},
        "precision": "fp32",
        "ema_decay": 0.0,
        "log": {"steps": 1, "captions": 1, "report_to": []},
        "checkpoints": {"minutes": None, "steps": 1, "keep_last": 1},
        "tested_prompts": 1,
        "report_prompts": 1,
        "stages": [{"name": "learn", "resolution": 32, "batch_size": 2, "learning_rate": 1e-3, "steps": 2,
                    "warmup_steps": 0}],
    }  # fmt: skip


def test_a_run_learns_from_clips_and_ends_with_a_model_of_clips(
    tmp_path: Path, settings: dict[str, Any], clip_model: Path
) -> None:
    train(from_mapping(RLRecipe, settings), tmp_path / "run")
    before, after = (
        load_file(folder / WEIGHTS.relative_to("model")) for folder in (clip_model, tmp_path / "run/model")
    )
    assert any(not torch.equal(before[name], after[name]) for name in after)
    rows = pq.read_table(tmp_path / "run" / "rollouts" / "iteration-000001.parquet").to_pylist()
    marks = json.loads(rows[0]["marks"])
    assert {name.rpartition(":")[2] for name in marks} == {"change.score", "jpeg.score"}
    assert "scene" in json.loads(rows[0]["metadata"])
    with Image.open(tmp_path / "run" / "sheet.png") as sheet:
        assert sheet.width > 5 * 32  # a film strip
    made = TextToImagePipeline(load_bundle(str(tmp_path / "run" / "model")))("a cat", seed=1, output="latent").images[0]
    assert made.record.request.num_frames == 5  # type: ignore[attr-defined]


def test_rollouts_are_the_clips_of_the_pipeline(tmp_path: Path, settings: dict[str, Any], clip_model: Path) -> None:
    feed = feed_of(settings, tmp_path)
    prompt = feed.maker.prompt(0, 0)
    (rolled,) = feed.maker.engine.make(feed.maker.plans_for(prompt, [7]))
    pipeline = TextToImagePipeline(load_bundle(str(clip_model)))
    request = VideoRequest(
        prompt=prompt.text, seed=7, num_inference_steps=2, num_frames=5, guidance_scale=1.0, height=32, width=32
    )
    made = pipeline([request]).images[0]
    assert isinstance(made, GeneratedClip)
    assert isinstance(rolled.image, Clip)
    np.testing.assert_array_equal(rolled.image.frames, made.pictures)
    assert rolled.image.fps == 8


def test_flow_grpo_has_the_paths_of_clips(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings["algorithm"] = {"type": "grpo"}
    feed = feed_of(settings, tmp_path)
    learned = feed._batch(feed.maker.iteration(0), 0).learned
    assert learned.latent.shape[:2] == (2, learned.following.shape[1])
    assert learned.latent.ndim == 5
    assert not torch.equal(learned.latent, learned.following)


def test_exploration_makes_many_clips_in_fewer_bits(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings["explore"] = {"candidates": 3, "steps": 1, "scheme": "int8"}
    maker = feed_of(settings, tmp_path).maker
    iteration = maker.iteration(0)
    assert len(iteration.kept) == 4
    group = iteration.kept[0].group
    assert [record["precision"] for record in group.records] == ["int8"] * 3 + ["float32"] * 2
    assert -1 <= iteration.facts["rank_agreement/all"] <= 1


def feed_of(settings: dict[str, Any], folder: Path) -> Any:
    """Of a run before its first step."""
    recipe = from_mapping(RLRecipe, settings)
    run = Rewarding(recipe, starting_model(recipe, "cpu"), Session(config=recipe, folder=folder))
    return run.build_stage(recipe.stages[0], lambda whose, parts: None).feed


def test_rewards_of_pictures_see_frames_and_those_of_clips_no_pictures() -> None:
    def light(pictures: Any, prompts: Any, metadata: Any) -> list[float]:
        return [float(np.asarray(each).mean()) for each in pictures]

    def length(clips: Any, prompts: Any, metadata: Any) -> list[float]:
        return [len(each.frames) for each in clips]

    length.of_clips = True  # type: ignore[attr-defined]
    panel = Panel([RewardConfig(name="light"), RewardConfig(name="length")], [light, length])
    levels = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    shown = [Clip(levels, 8.0), Clip(levels[:1] + 9, 8.0)]
    marks = [own for own, _ in panel.look(shown, ["a", "b"], [{}, {}], [0, 1])]
    assert marks == [{"light.score": 3.0, "length.score": 7}, {"light.score": 9.0, "length.score": 1}]
    with pytest.raises(RewardError, match="looks at clips"):
        panel.look([Image.new("RGB", (2, 2))], ["a"], [{}], [0])


def test_what_does_not_fit_is_told(
    settings: dict[str, Any], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {**settings, "init": str(tiny_model)}
    none = {name: value for name, value in settings["rollout"].items() if name != "frames"}
    with pytest.raises(ConfigError, match="change looks at clips, and here are pictures"):
        train(from_mapping(RLRecipe, {**pictures, "rollout": none}), tmp_path / "run")
    monkeypatch.delattr("sanakit.training.recipes.rl.recipe.begun")  # it is told before a model is loaded
    with pytest.raises(ConfigError, match=r"rollout\.frames and rollout\.fps are of clips"):
        train(from_mapping(RLRecipe, pictures), tmp_path / "other")
    settings["rollout"]["frames"] = 6
    with pytest.raises(RequestError, match="1 frame more than a multiple of 2; the nearest are 5 and 7"):
        train(from_mapping(RLRecipe, settings), tmp_path / "third")


def test_a_network_that_is_not_trained_is_refused(settings: dict[str, Any], tmp_path: Path, clip_model: Path) -> None:
    bundle = load_bundle(str(clip_model))
    old = bundle.transformer.config
    config = VideoDiT2Config(
        hidden_size=24, num_layers=2, head_dim=12, anchor_head_dim=12, num_anchors=1, cross_head_dim=12, group=2,
        in_channels=old.in_channels, caption_channels=old.caption_channels,
    )  # fmt: skip
    save_bundle(replace(bundle, transformer=VideoDiT2(config).eval()), tmp_path / "second")
    settings["init"] = str(tmp_path / "second")
    with pytest.raises(ConfigError, match="is run and not trained"):
        train(from_mapping(RLRecipe, settings), tmp_path / "run")
