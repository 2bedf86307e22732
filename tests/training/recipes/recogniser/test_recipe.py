"""Training a recogniser: the truth it is told, a short run that leaves a reader and its report, and the recipe."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import sanakit
from sanakit.common.config import from_mapping
from sanakit.common.errors import CheckpointError, ConfigError, RequestError
from sanakit.evaluation.metrics.image_metrics import psnr
from sanakit.models.recogniser import Recogniser, RecogniserConfig
from sanakit.scoring.reading.load import load_reader
from sanakit.scoring.reading.recogniser import found_boxes, load_recogniser, save_recogniser
from sanakit.training.objectives.recognition import NOT_ASKED, name_numbers, picture_truth
from sanakit.training.recipes.recogniser.examples import Soften, draw_example
from sanakit.training.recipes.recogniser.features import ExamplesConfig, cache_examples
from sanakit.training.recipes.recogniser.recipe import RecogniserRecipe, learned_banks, network_of, words_of
from sanakit.training.recipes.train import train
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.scenes.description import Ground
from sanakit.worlds.world_scenes import WorldScenes

RECIPE = Path(__file__).parents[4] / "recipes" / "recogniser.yaml"
WORDS = RecogniserConfig(
    names=("cat", "dog"), colours=("red", "blue"), ground_colours=("white", "red"), drawn_grounds=("night",),
    places=("park",),
)  # fmt: skip


def test_the_truth_of_a_picture_is_found_again() -> None:
    boxes = [(0.1, 0.2, 0.4, 0.7), (0.55, 0.5, 0.95, 0.9)]
    truth = picture_truth(Ground(kind="graded", name="white red"), boxes, WORDS)
    assert (truth.grounds, truth.upper, truth.lower) == (0, 0, 1)
    found = found_boxes((truth.heat == 1).float(), truth.boxes)
    assert sorted(found) == [pytest.approx(box, abs=1e-5) for box in boxes]
    park = picture_truth(Ground(kind="place", name="park"), [], WORDS)
    assert (park.grounds, park.upper, park.lower) == (2, NOT_ASKED, NOT_ASKED)
    assert park.heat.max() == 0


def test_the_numbers_of_words() -> None:
    assert name_numbers("dog", "blue", WORDS) == (3, 2)
    assert name_numbers("cat", None, WORDS) == (2, 0)
    assert name_numbers(None, None, WORDS) == (0, NOT_ASKED)
    assert name_numbers("elephant", "red", WORDS) == (0, NOT_ASKED)


def test_pictures_are_as_an_autoencoder_gives_them_back() -> None:
    scenes = WorldScenes(load_bank("tiny"), "train", 0)
    scene, picture = scenes.truth(0)[0], scenes.sample(0).image
    seldom, always = (ExamplesConfig(autoencoder="starter", rebuilt_share=share).softening("cpu") for share in (0, 1))

    def drawn(soften: Soften) -> np.ndarray:
        return draw_example(scene, scenes.bank, np.random.default_rng(5), spoiled_share=0.0, soften=soften).picture

    copy = drawn(always)
    assert 18 < psnr(copy, picture) < 40
    np.testing.assert_array_equal(copy, drawn(always))
    assert psnr(copy, drawn(seldom)) < 40
    with pytest.raises(ConfigError, match="rebuilt_share"):
        ExamplesConfig(rebuilt_share=1.5)


def test_examples_know_an_autoencoder_by_its_weights(tmp_path: Path) -> None:
    config = ExamplesConfig(autoencoder=str(tmp_path / "vae"))
    shutil.copytree(Path(sanakit.__file__).parent / "starter" / "vae", tmp_path / "vae")
    assert config.weights() == ExamplesConfig(autoencoder="starter").weights()
    (file,) = (tmp_path / "vae").glob("*.safetensors")
    tensors = load_file(file)
    next(value for name, value in tensors.items() if name.startswith("decoder"))[0] += 1
    save_file(tensors, file)
    assert config.weights() != ExamplesConfig(autoencoder="starter").weights()
    assert ExamplesConfig().weights() is None


def test_a_run_leaves_a_reader_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sanakit.training.recipes.recogniser.features._PART", 8)
    (tmp_path / "names.txt").write_text("# some\ncat, dog\napple\nno such thing\n")
    recipe = from_mapping(RecogniserRecipe, {
        "data": {"bank": "tiny", "names": str(tmp_path / "names.txt"), "num_scenes": 16, "finder_every": 2,
                 "also": "tiny"},
        "stages": [{"name": "reading", "batch_size": 16, "learning_rate": 1e-3, "steps": 4}],
        "log": {"steps": 1, "report_to": []}, "report": 1,
    })  # fmt: skip
    train(recipe, tmp_path / "run")
    reader = load_reader(tmp_path / "run" / "model")
    assert set(reader.words.names) >= {"cat", "dog", "apple"}
    seen = reader.read(np.zeros((100, 100, 3), dtype=np.uint8))
    assert json.loads(json.dumps(seen.to_json())).keys() == {"objects", "ground", "place"}
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert len(scores["networks"][0]["weights_hash"]) == 64
    assert {"found", "things", "ground"} <= {row["name"] for row in scores["measurements"]}
    assert "## Recipe" in (tmp_path / "run" / "report.md").read_text()
    (tmp_path / "names.txt").rename(tmp_path / "moved.txt")
    moved = replace(recipe, data=replace(recipe.data, names=str(tmp_path / "moved.txt")), report=0)
    train(moved, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"data of the recipe is not what .* \(other scenes\)"):
        train(replace(moved, data=replace(moved.data, also=None)), tmp_path / "run")
    (tmp_path / "moved.txt").write_text("cat, dog\nball\n")
    with pytest.raises(ConfigError, match=r"data of the recipe is not what .* \(other scenes\)"):
        train(moved, tmp_path / "run")
    words, data = words_of(load_bank("tiny")), from_mapping(ExamplesConfig, {"bank": "tiny", "num_scenes": 24})
    examples = tmp_path / "run" / "examples"
    (examples / "examples-0000.pt").write_bytes(b"of the other bank")
    cache_examples(data, words, [load_bank("tiny")], examples, "cpu")
    assert "holds examples of another bank, autoencoder or config; they are made anew" in caplog.text
    assert torch.load(examples / "examples-0000.pt").keys() == {"pictures", "truth", "cutouts", "labels"}
    assert len(list(examples.glob("*.pt"))) == 3


def test_a_recogniser_learns_on(tmp_path: Path) -> None:
    bank = load_bank("tiny").subset(["cat", "dog"])
    known = Recogniser(words_of(bank)).bfloat16().float()
    save_recogniser(known, tmp_path)
    recipe = from_mapping(RecogniserRecipe, {
        "init": str(tmp_path), "stages": [{"name": "reading", "batch_size": 1, "learning_rate": 1e-3, "steps": 1}],
    })  # fmt: skip
    assert network_of(recipe, bank).state_dict().keys() == known.state_dict().keys()
    for name, tensor in network_of(recipe, bank).state_dict().items():
        torch.testing.assert_close(tensor, known.state_dict()[name], rtol=0, atol=0)
    with pytest.raises(ConfigError, match="trained on other words than the bank"):
        network_of(recipe, load_bank("tiny"))


def test_a_second_bank_shows_what_the_first_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    first, second = learned_banks(ExamplesConfig(bank="tiny", also="tiny", names=str(tmp_path / "names.txt")))
    assert set(first.things) == set(second.things) == {"cat", "dog"}
    whole = load_bank("tiny")
    bare = Bank(whole.folder, "bare", [thing for thing in whole.things.values() if thing.name == "cat"], (), ())
    monkeypatch.setattr("sanakit.training.recipes.recogniser.recipe.load_bank", {"bare": bare, "tiny": whole}.get)
    with pytest.raises(ConfigError, match="let them change places"):
        learned_banks(ExamplesConfig(bank="bare", also="tiny"))


def test_the_words_of_a_bank() -> None:
    words = words_of(load_bank("tiny"))
    assert "apple" in words.names
    assert words.colours[:2] == ("red", "orange")
    assert "night" in words.drawn_grounds


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no recogniser"):
        load_reader(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no recogniser"):
        load_recogniser(tmp_path)


def test_the_recipe_is_small_and_whole() -> None:
    recipe = from_mapping(RecogniserRecipe, yaml.safe_load(RECIPE.read_text()))
    assert recipe.data.names == "recipes/starter-names.txt"
    with torch.device("meta"):
        names = tuple(f"thing {number}" for number in range(410))
        places = tuple(f"place {number}" for number in range(18))
        words = RecogniserConfig(
            names=names, places=places, colours=("red",) * 11, ground_colours=("red",) * 11, drawn_grounds=("a",) * 4
        )
        numbers = sum(math.prod(parameter.shape) for parameter in Recogniser(words).parameters())
    assert 2 * numbers < 2_000_000  # bytes in bfloat16
