"""Recipes that runs of 0.1.0 kept: what came after them changes nothing, and a run's autoencoder is its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError
from sanakit.training.recipes.recipe import build_recipe, renamed
from sanakit.training.recipes.recipe_file import record_recipe
from sanakit.training.run.continuing import INIT

STAGE = {"name": "a", "resolutions": [32], "batch_size": 2, "learning_rate": 1e-3, "steps": 2}


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"type": "transformer", "init": "starter", "data": {"type": "files", "path": "photos"}, "stages": [STAGE]}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Of a run that has been saved."""
    saved = tmp_path / "run" / "checkpoints" / "step-00000001"
    saved.mkdir(parents=True)
    (saved / "complete.json").write_text("{}")
    return tmp_path / "run"


def test_settings_that_came_later_do_not_keep_a_run_from_continuing(run_folder: Path, settings: dict[str, Any]) -> None:
    before = to_mapping(build_recipe(settings, name="x"))
    del before["growth"], before["stages"][0]["interpolation_scale"], before["stages"][0]["data"]
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(before))
    record_recipe(build_recipe(settings, name="x"), run_folder)
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(before))
    grown = build_recipe({**settings, "growth": {"num_layers": 12}}, name="x")
    with pytest.raises(ConfigError, match="growth: None -> absent"):
        record_recipe(grown, run_folder)


def test_places_are_compared_by_what_is_there(
    tmp_path: Path, run_folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slash at the end, a link and a path from the root are no other data, and no other weights."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "others", "model"):
        Path(folder).mkdir()
    Path("link").symlink_to("photos")

    def record(path: str, init: str) -> None:
        changed = {**settings, "init": init, "data": {"type": "files", "path": path}}
        record_recipe(build_recipe(changed, name="x"), run_folder)

    Path(run_folder, "recipe.yaml").unlink(missing_ok=True)
    record("photos", "model")
    for same in ("photos/", "./photos", str(tmp_path / "others" / ".." / "photos"), "link", "photos"):
        record(same, "./model/")
    for other in ("others", "nowhere"):
        with pytest.raises(ConfigError, match=rf"data\.path: photos -> {other}"):
            record(other, "model")
    with pytest.raises(ConfigError, match=r"init: \./model/ -> photos"):
        record("photos", "photos")


def test_weights_that_moved_are_told_by_what_they_are(run_folder: Path, settings: dict[str, Any]) -> None:
    def record(init: str, also: str, cache: str) -> None:
        data = {**settings["data"], "also": [also], "cache_folder": cache}
        stage = {**STAGE, "data": data}
        record_recipe(build_recipe({**settings, "init": init, "data": data, "stages": [stage]}, name="x"), run_folder)

    def knows(*whose: str) -> None:
        run = {"data": {each: {"weights": "0123"} for each in whose}}
        (run_folder / "checkpoints" / "step-00000001" / "state.json").write_text(json.dumps({"run": run}))

    record("old", "a", "c")
    knows("the recipe")  # as before there were fingerprints of weights
    with pytest.raises(ConfigError, match=r"other settings \(init: old -> new\)"):
        record("new", "b", "d")
    knows("the recipe", INIT)
    record("new", "b", "d")


def test_the_autoencoder_of_a_run_of_010_is_the_folder_that_it_leaves_now(
    run_folder: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    weights = tmp_path / "ae" / "autoencoder.pt"
    old = {**settings, "autoencoder": str(weights)}
    assert to_mapping(build_recipe(old, name="x"))["autoencoder"] == str(weights)  # and reading it says what to do
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(to_mapping(build_recipe(old, name="x"))))
    (tmp_path / "ae" / "model").mkdir(parents=True)
    for given in (old, {**settings, "autoencoder": str(tmp_path / "ae" / "model")}):
        recipe = build_recipe(given, name="x")
        assert to_mapping(recipe)["autoencoder"] == str(tmp_path / "ae" / "model")
        record_recipe(recipe, run_folder)


def test_the_first_starters_scenes_are_read_as_the_tiny_bank(caplog: pytest.LogCaptureFixture) -> None:
    found = renamed({"data": {"type": "starter_scenes", "num_captions": 5}})
    assert found["data"] == {"type": "scenes", "bank": "tiny", "num_captions": 5}
    assert "bank: tiny" in caplog.text


def test_the_share_of_single_things_is_read_as_a_mixture(run_folder: Path, settings: dict[str, Any]) -> None:
    found = renamed({"data": {"single_share": None}, "stages": [{"data": {"single_share": 0.4}}]})
    assert found == {"data": {"mixture": None}, "stages": [{"data": {"mixture": {"kinds": {"single": 0.4}}}}]}
    settings["data"] = {"type": "scenes", "bank": "tiny", "mixture": {"kinds": {"single": 0.4}}}
    recipe = build_recipe(settings, name="x")
    before = to_mapping(recipe)
    del before["data"]["mixture"]
    before["data"]["single_share"] = 0.4
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(before))
    record_recipe(recipe, run_folder)
    assert "single_share" not in (run_folder / "recipe.yaml").read_text()


def test_a_run_goes_on_without_samples_that_are_left_out(run_folder: Path, settings: dict[str, Any]) -> None:
    record_recipe(build_recipe(settings, name="x"), run_folder)
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(to_mapping(build_recipe(settings, name="x"))))
    settings["data"]["leave_out"] = ["007"]
    record_recipe(build_recipe(settings, name="x"), run_folder)
    assert yaml.safe_load((run_folder / "recipe.yaml").read_text())["data"]["leave_out"] == ["007"]
    settings["data"]["path"] = "others"
    with pytest.raises(ConfigError, match=r"data.path"):
        record_recipe(build_recipe(settings, name="x"), run_folder)
