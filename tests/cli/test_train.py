from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import sanakit
from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.identity.precision import FLOAT16_LINE
from sanakit.cli.terminal.recipe_file import apply_override, apply_overrides, read_recipe
from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.data.curation.config import CurationConfig
from sanakit.training.recipes.recipe import build_recipe, class_of_settings
from sanakit.training.recipes.recipe_file import differences
from sanakit.training.step.standard_text import StandardText

RECIPES = [
    path for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml")) if "\ntype: " in path.read_text()
]  # those of training: others have no type


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=3", {"seed": 3, "log": {"steps": 5}, "stages": [{"name": "a"}]}),
        ("log.steps=0.5", {"log": {"steps": 0.5}, "stages": [{"name": "a"}]}),
        ("log.steps=null", {"log": {"steps": None}, "stages": [{"name": "a"}]}),
        ("stages.0.name=b=c", {"log": {"steps": 5}, "stages": [{"name": "b=c"}]}),
        ("samples.steps=2", {"log": {"steps": 5}, "stages": [{"name": "a"}], "samples": {"steps": 2}}),
    ],
)
def test_overrides(override: str, expected: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"log": {"steps": 5}, "stages": [{"name": "a"}]}
    apply_override(settings, override)
    assert settings == expected


@pytest.mark.parametrize("text", ["2024-05-01", "007", "on", "cats #2", "photos: holiday", "@home", " a", "[x", "null"])
def test_a_setting_whose_type_is_text_takes_the_characters(text: str) -> None:
    settings: dict[str, Any] = {"type": "transformer", "data": {"path": "x"}, "samples": {"prompts": ["a", "b"]}}
    cls = class_of_settings(settings)
    for name in ("data.path", "samples.prompts.1", "intent"):
        apply_override(settings, f"{name}={text}", cls)
    assert (settings["data"]["path"], settings["samples"]["prompts"], settings["intent"]) == (text, ["a", text], text)
    apply_override(settings, f"data.cache_folder={text}", cls)
    assert settings["data"]["cache_folder"] == (None if text == "null" else text)
    curation: dict[str, Any] = {"captioners": [{"type": "plugin", "source": "x", "target": "a:B"}]}
    apply_override(curation, f"captioners.0.target={text}", CurationConfig)
    assert curation["captioners"][0]["target"] == text


def test_other_settings_are_read_as_yaml() -> None:
    settings: dict[str, Any] = {"type": "transformer", "data": {"type": "scenes"}}
    cls = class_of_settings(settings)
    for override in ("data.seed=7", "seed=0x10", "samples.prompts=[a, '7']", "activation_checkpointing=on", "x.y=1"):
        apply_override(settings, override, cls)
    assert (settings["data"]["seed"], settings["seed"], settings["x"]) == (7, 16, {"y": 1})
    assert (settings["samples"], settings["activation_checkpointing"]) == ({"prompts": ["a", "7"]}, True)
    assert class_of_settings({"type": ["transformer"]}) is None


PAIRS = tuple(zip("abcdefgh", "bcdefghi", strict=True))
BOMBS = {
    "aliases": "a: &a [x]\n" + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in PAIRS),
    "merges": "a: &a {x: 1}\n"
    + "".join(f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in PAIRS),
    "circle": "a: &a [*a]\n",
    "brackets": "a: " + "[" * 5000,
    "date": "a: 2024-13-45\n",
    "digits": "a: " + "9" * 5000 + "\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_yaml_that_grows_or_breaks_its_reader_is_refused(bomb: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(BOMBS[bomb])
    with pytest.raises(RequestError, match="is not YAML"):
        read_recipe(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: *a}\n")
    assert read_recipe(tmp_path / "r.yaml")["b"] == {"x": 1, "y": {"x": 1}}


def test_recipes_of_windows_are_read_and_files_without_end_are_not(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes("type: transformer\r\n".encode("utf-16"))
    assert read_recipe(tmp_path / "r.yaml") == {"type": "transformer"}
    with (tmp_path / "r.yaml").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(RequestError, match="has more than 10000000 bytes"):
        read_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize("override", ["seed", "=3", "stages.1.name=x", "stages.x=1", "log.steps.deep=1", "a=[1"])
def test_overrides_that_lead_nowhere(override: str) -> None:
    with pytest.raises(RequestError, match="--set"):
        apply_override({"log": {"steps": 5}, "stages": [{"name": "a"}]}, override)


def test_an_override_changes_the_recipes_that_it_fits() -> None:
    names = ("starter-autoencoder.yaml", "starter-transformer.yaml")
    recipes = [read_recipe(path) for path in RECIPES if path.name in names]

    def check(settings: Any) -> None:
        build_recipe(settings, name="x")

    first, second = apply_overrides(recipes, ["seed=9", "caption_dropout=0.5"], check, class_of_settings)
    assert (first["seed"], second["seed"], second["caption_dropout"]) == (9, 9, 0.5)
    assert "caption_dropout" not in first
    assert recipes[1].get("caption_dropout") != 0.5
    with pytest.raises(ConfigError, match="has no setting 'sede'; did you mean 'seed'"):
        apply_overrides(recipes, ["sede=9"], check, class_of_settings)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_read(recipe: Path) -> None:
    settings = read_recipe(recipe)
    built = build_recipe(settings, name=str(recipe))
    assert to_mapping(built)["type"] == settings["type"]
    assert from_mapping(type(built), yaml.safe_load(yaml.safe_dump(to_mapping(built)))) == built


def test_what_a_run_may_continue_with() -> None:
    before = {"seed": 0, "log": {"steps": 5}, "stages": [{"name": "a", "steps": 3, "learning_rate": 0.1}], "text": None}
    longer = {**before, "log": {"steps": 9}, "stages": [{"name": "a", "steps": 8, "learning_rate": 0.1}]}
    assert differences(before, longer) == []
    other = {**before, "seed": 1, "stages": [{"name": "a", "steps": 3, "learning_rate": 0.2}], "text": {"a": 1}}
    assert differences(before, other) == [
        "seed: 0 -> 1", "stages.0.learning_rate: 0.1 -> 0.2", "text: None -> absent", "text.a: absent -> 1",
    ]  # fmt: skip


def test_bad_recipes_are_usage_errors(run: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1\nb: 2")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "type.yaml").write_text("type: video")
    (tmp_path / "near.yaml").write_text("type: transfromer")
    (tmp_path / "key.yaml").write_text("type: transformer\nstagse: []")
    (tmp_path / "both.yaml").write_text("type: transformer\ndata: {path: x}\nstages: []")
    for name, message in (
        ("none.yaml", "No such file"), ("broken.yaml", "not YAML at line"), ("list.yaml", "holds list"),
        ("type.yaml", "autoencoder, dual_encoder, recogniser, rl, sprint or transformer"),
        ("near.yaml", "did you mean transformer"),
        ("key.yaml", "did you mean 'stages'"), ("both.yaml", "needs init"),
    ):  # fmt: skip
        outcome = run("train", name)
        assert outcome.code == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
    assert run("train").code == 2
    assert run("train", "--replay", "nowhere").code == 2


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path) -> Path:
    """Five photographs of several shapes with captions, and a recipe that continues the tiny model on them."""
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate([(96, 64), (64, 96), (80, 80), (70, 64), (90, 60)]):
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(photos / f"{index}.png")
        (photos / f"{index}.txt").write_text(f"picture {index}")
    settings = {
        "type": "transformer",
        "init": str(tiny_model),
        "precision": "fp32",
        "ema_decay": 0.5,
        "log": {"steps": 1, "report_to": []},
        "data": {"type": "files", "path": str(photos)},
        "checkpoints": {"minutes": None, "steps": 2},
        "samples": {"prompts": ["a cat"], "every_steps": 2, "steps": 1},
        "stages": [
            {"name": "low", "resolutions": [32], "batch_size": 2, "learning_rate": 1e-3, "steps": 3, "warmup_steps": 0},
            {
                "name": "high",
                "resolutions": [64],
                "batch_size": 2,
                "learning_rate": 1e-3,
                "steps": 2,
                "flow_shift": 2.5,
            },
        ],
    }
    path = tmp_path / "tune.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_model_is_tuned_on_a_folder_and_opens_everywhere(run: Any, recipe: Path, tiny_model: Path) -> None:
    outcome = run("train", recipe, "--output", "out")
    assert outcome.code == 0, outcome.err
    assert "caption_dropout: 0.1" in outcome.err  # the recipe in full, defaults too
    assert "step 5  loss" in outcome.err
    assert yaml.safe_load(Path("out/recipe.yaml").read_text())["stages"][1]["resolutions"] == [64]
    assert sorted(path.name for path in Path("out/samples").iterdir()) == ["step-00000002.png", "step-00000004.png"]
    assert Path("out/report.md").is_file()
    card = read_json(Path("out/model/sanakit.json"))
    assert (card["base_size"], card["flow_shift"], card["name"]) == (64, 2.5, "out")
    assert card["trained_from"].startswith("tiny (")
    pipeline, before = sanakit.load("out/model"), sanakit.load(tiny_model)
    weights = pipeline.bundle.transformer.state_dict(), before.bundle.transformer.state_dict()
    assert any(not torch.allclose(tensor, weights[1][name], atol=1e-4) for name, tensor in weights[0].items())
    assert pipeline("a cat", num_inference_steps=1).images[0].image.size == (64, 64)
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.SanaTransformer2DModel.from_pretrained("out/model", subfolder="transformer")
    assert theirs.config.num_layers == 2

    again = run("train", recipe, "--output", "out", "--set", "log.steps=2", "--quiet")
    assert again.code == 0, again.err
    assert len(Path("out/log.jsonl").read_text().splitlines()) == 5
    other = run("train", recipe, "--output", "out", "--set", "stages.0.learning_rate=0.5", "--set", "seed=4")
    assert other.code == 2
    assert "seed: 0 -> 4; stages.0.learning_rate: 0.001 -> 0.5" in other.err


def test_right_captions_against_wrong_ones_are_in_the_log_and_the_report(run: Any, recipe: Path) -> None:
    tests = ("--set", "log.captions=4", "--set", "log.steps=2", "--set", "samples.prompts=[]")
    outcome = run("train", recipe, "--output", "out", *tests, "--set", "stages.1.steps=3")
    assert outcome.code == 0, outcome.err
    lines = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    assert [("right_caption/another_caption" in line) for line in lines] == [False, True, False]  # steps 2, 4, 6
    assert 0 <= lines[1]["right_caption"] <= 1
    report = Path("out/report.md").read_text()
    assert "| right caption/another caption | " in report


def test_text_is_standardised_while_it_is_trained_and_the_model_is_as_any_other(
    run: Any, recipe: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate of next to nothing changes nothing, a continued run has the states of its first sitting."""
    changes = ["standardise_text=true", "samples.prompts=[]", "checkpoints.steps=null", "log.captions=null"]
    changes += [f"stages.{stage}.learning_rate=1e-12" for stage in (0, 1)]
    words = [word for change in changes for word in ("--set", change)]
    assert run("train", recipe, "--output", "out", *words, "--set", "stages.1.steps=1").code == 0
    monkeypatch.setattr(StandardText, "measure", lambda self, data: self.mean.fill_(7.0))
    assert run("train", recipe, "--output", "out", *words).code == 0
    assert sorted(path.name for path in Path("out/checkpoints").iterdir())[-1] == "step-00000005"
    plain, trained = (sanakit.load(model).bundle.transformer.state_dict() for model in (tiny_model, "out/model"))
    assert all(torch.allclose(trained[name], tensor, rtol=0.01, atol=1e-3) for name, tensor in plain.items())


def test_the_report_counts_the_steps_after_the_last_line_of_the_log(run: Any, recipe: Path) -> None:
    outcome = run("train", recipe, "--output", "out", "--set", "log.steps=4", "--set", "samples.prompts=[]")
    assert outcome.code == 0, outcome.err
    line = next(line for line in Path("out/report.md").read_text().splitlines() if line.startswith("| run |"))
    assert line.startswith("| run | 5 steps, "), line


def test_a_step_that_is_not_finite_is_kept_and_replayed(
    run: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sanakit.models.transformers import linear_dit

    plain = linear_dit.Block.forward

    def spoilt(self: Any, x: Any, *args: Any, **named: Any) -> Any:
        return plain(self, x, *args, **named) / (0 if self.training else 1)

    with monkeypatch.context() as patch:
        patch.setattr(linear_dit.Block, "forward", spoilt)
        outcome = run("train", recipe, "--output", "bad", "--quiet")
        assert outcome.code == 1
        assert "the first of it is the output of transformer.blocks.0 (" in outcome.err
        assert outcome.err.count("\n") == 1
        bundle = Path("bad/guard/step-1")
        culprit = json.loads((bundle / "guard.json").read_text())["culprit"]
        assert culprit.startswith("the output of transformer.blocks.0")
        for picture in Path("photos").iterdir():
            picture.unlink()  # a bundle needs no data
        repeated = run("train", "--replay", bundle)
        assert repeated.code == 0, repeated.err
        assert "step 1 is reproduced" in repeated.out
        assert "not finite first: the output of transformer.blocks.0" in repeated.out
    cured = run("train", "--replay", bundle)
    assert cured.code == 1
    assert "not reproduced" in cured.err


def test_a_model_is_grown_first_and_a_stage_has_positions_and_data_of_its_own(
    run: Any, recipe: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load(recipe.read_text()) | {"growth": {"num_layers": 4, "drop_last": 1}, "samples": {}}
    large = tmp_path / "large"
    large.mkdir()
    Image.new("RGB", (128, 128)).save(large / "one.png")
    (large / "one.txt").write_text("one")
    settings["stages"][1] |= {"interpolation_scale": 2.0, "data": {"type": "files", "path": str(large)}}
    recipe.write_text(yaml.safe_dump(settings))
    outcome = run("train", recipe, "--output", "out")
    assert outcome.code == 0, outcome.err
    config = read_json(Path("out/model/transformer/config.json"))
    assert (config["num_layers"], config["interpolation_scale"], config["sample_size"]) == (4, 2.0, 4)
    assert read_json(Path("out/model/sanakit.json"))["trained_from"].startswith("tiny (")
    missing = run("train", recipe, "--output", "other", "--set", "stages.1.data.path=nowhere")
    assert missing.code == 2
    assert "there is no nowhere, the data of stage high" in missing.err
    assert not Path("other/checkpoints").exists()


def test_a_run_keeps_to_the_precision_of_its_weights_and_says_why(
    run: Any, recipe: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = FLOAT16_LINE
    monkeypatch.setattr("sanakit.training.recipes.planning.has_quick_bfloat16", lambda device: True)
    shutil.copytree(tiny_model, "held")
    card = read_json(Path("held/sanakit.json"))
    Path("held/sanakit.json").write_text(json.dumps(card | {"precision": line.to_json()}))
    changes = ("init=held", "samples.prompts=[]", "log.captions=null", "stages.0.steps=1", "stages.1.steps=1")
    words = [word for change in changes for word in ("--set", change)]
    refused = run("train", recipe, "--output", "out", *words, "--set", "precision=bf16")
    assert refused.code == 2
    assert line.reason in refused.err
    assert not Path("out").exists()
    outcome = run("train", recipe, "--output", "out", *words, "--set", "precision=auto")
    assert outcome.code == 0, outcome.err
    assert yaml.safe_load(Path("out/recipe.yaml").read_text())["precision"] == "fp32"
    assert read_json(Path("out/model/sanakit.json"))["precision"] == line.to_json()
    (weights,) = Path("out/model/transformer").glob("*.safetensors")
    stored = {str(tensor.dtype).removeprefix("torch.") for tensor in load_file(weights).values()}
    assert stored == {line.dtypes["transformer"][0]}
    with pytest.raises(RequestError, match=r"not run in bfloat16"):
        sanakit.load("out/model", dtype="bf16")


def test_other_data_is_refused_or_accepted_by_name_and_a_place_is_no_data(
    run: Any, recipe: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load(recipe.read_text()) | {"samples": {}}
    settings["log"]["captions"] = None
    settings["stages"] = [{**settings["stages"][0], "steps": 1}]
    recipe.write_text(yaml.safe_dump(settings))
    assert run("train", recipe, "--output", "out", "-q").code == 0
    place = Path(settings["data"]["path"]).rename(tmp_path / "elsewhere")
    (place / "3.txt").write_text("another")
    words = ["--set", f"data.path={place}", "--set", "stages.0.steps=2", "-q"]
    outcome = run("train", recipe, "--output", "out", *words)
    assert outcome.code == 2
    assert "is not what this run was trained on so far (other captions); put it back" in outcome.err
    name = re.search(r"accept_data=data-[0-9a-f]{8}", outcome.err)
    assert name is not None
    assert run("train", recipe, "--output", "out", *words, "--set", name[0]).code == 0
    assert len(Path("out/log.jsonl").read_text().splitlines()) == 2
