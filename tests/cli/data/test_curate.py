from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.checkpoints.files.hub_server import running_hub

from sanakit.cli.app import main
from sanakit.cli.data.curate import _commit_of

RECIPE = str(Path(__file__).parents[3] / "recipes" / "curation.yaml")
PLUGIN = """
class Captioner:
    def __call__(self, images):
        return [f"{image.width} px wide" for image in images]

class Interrupted(Captioner):
    def __call__(self, images):
        raise KeyboardInterrupt
"""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        picture = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((32, 32))
        picture.save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"picture [{name}]")
    Image.new("RGB", (8, 8), "red").save(folder / "small.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captioner_beside_me.py").write_text(PLUGIN)
    return folder


def curate(*words: str) -> int:
    return main(["data", "curate", "photos", "out", "--recipe", RECIPE, "--set", "filters.smallest_side=16", *words])


def plugin(name: str) -> tuple[str, str]:
    return "--set", f"captioners=[{{type: existing}}, {{type: plugin, source: me, target: captioner_beside_me:{name}}}]"


def test_curates_with_a_captioner_beside_the_user_and_traces_samples(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(*plugin("Captioner")) == 0
    assert "smallest_side" in capsys.readouterr().out
    assert main(["data", "lineage", "out", "b"]) == 0
    told = capsys.readouterr().out
    assert "prompt: picture [b]" in told
    assert "me: 32 px wide" in told
    assert main(["data", "lineage", "out", "small", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["samples"]
    assert (row["dropped_by"], row["dropped_value"]) == ("smallest_side", 8)


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert curate(*plugin("Interrupted")) == 130
    assert "the same command continues" in capsys.readouterr().err
    assert not list(Path("out").glob("*.tar"))


def test_json_goes_to_stdout_alone(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert curate("--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["num_samples"], summary["num_kept"], summary["dropped"]) == (4, 3, {"smallest_side": 1})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "filters.smalest_side=4"], "did you mean 'smallest_side'"),
        (["--set", "captioners=[{type: plugin, source: x, target: nowhere:Here}]"], "cannot be imported"),
        (["--set", "scorer={model: /no/such/folder}"], "/no/such/folder"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(
    photos: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_captioner_of_the_hub_is_fetched_checked_and_known_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with running_hub(monkeypatch) as hub:
        hub.repos["org/llava"] = {"config.json": b"{}", "model.safetensors": b"weights", "processor_config.json": b"{}"}
        commit = _commit_of("org/llava", None, trusted=None)
        assert commit == hub.commit("org/llava")
        (weights,) = tmp_path.glob(f"models--org--llava/snapshots/{commit}/model.safetensors")
        weights.resolve().write_bytes(b"damaged")
        assert _commit_of("org/llava", commit, trusted=None) == commit
        assert weights.read_bytes() == b"weights"
    assert _commit_of(str(tmp_path), None, trusted=None) is None
