"""``sanakit data cache`` and ``sanakit data captions score`` as a user meets them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from sanakit.data import caption_scores
from sanakit.data.open import open_data

from ..conftest import Run


@dataclass
class BrightnessScorer:
    """A stand-in: the mean of the picture, and the length of the text behind the point."""

    name: str = "brightness"

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        return [float(np.asarray(image).mean()) + len(text) / 1000 for image, text in zip(images, texts, strict=True)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(128, 128), (160, 90), (64, 128)]):
        Image.new("RGB", size, (10 * number,) * 3).save(folder / f"{number} ü.png")
        (folder / f"{number} ü.txt").write_text(f"a plain picture, number {number}")
    return folder


def test_cache_tells_what_is_new_and_what_is_reused(run: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    command = ["data", "cache", photos, "--model", tiny_model, "--resolution", 64, "--cache", tmp_path / "cache"]
    first = run(*command)
    assert first.code == 0, first.err
    assert "latents: 0 reused, 3 computed" in first.out
    assert "captions: 0 reused, 3 computed" in first.out
    assert "latents: 3 reused, 0 computed" in run(*command).out
    (photos / "9.png").write_bytes((photos / "0 ü.png").read_bytes())
    (photos / "9.txt").write_text("another caption")
    content = json.loads(run(*command, "--json").out)[0]
    assert content["latents"] == {"reused": 3, "computed": 0}  # the same bytes as 0 ü.png
    assert content["texts"] == {"reused": 3, "computed": 1}
    assert content["num_samples"] == 4
    assert sum(content["bins"].values()) == 4
    assert list((tmp_path / "cache").glob("latents-*/*.safetensors"))


def test_cache_names_a_broken_picture_and_fails(run: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    whole = Image.effect_noise((128, 128), 80).convert("RGB")
    whole.save(photos / "bad.png")
    content = (photos / "bad.png").read_bytes()
    (photos / "bad.png").write_bytes(content[: len(content) // 2])
    (photos / "bad.txt").write_text("cut off")
    outcome = run("data", "cache", photos, "--model", tiny_model, "--resolution", 64, "--cache", tmp_path / "cache")
    assert outcome.code == 1
    assert "bad: undecodable" in outcome.out
    assert "latents: 0 reused, 3 computed" in outcome.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["PHOTOS"], "--recipe RECIPE.yaml or --model MODEL"),
        (["--model", "starter", "--resolution", "64"], "give PATH"),
        (["PHOTOS", "--model", "starter"], "--resolution says"),
        (["nowhere", "--model", "MODEL", "--resolution", "64"], "nowhere is not there"),
        (["PHOTOS", "--model", "MODEL", "--resolution", "50"], "multiples of 16"),
    ],
)
def test_what_is_missing_is_one_sentence(
    run: Run, photos: Path, tiny_model: Path, words: list[str], sentence: str
) -> None:
    places = {"PHOTOS": photos, "MODEL": tiny_model}
    outcome = run("data", "cache", *(places.get(word, word) for word in words))
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> BrightnessScorer:
    fake = BrightnessScorer()
    monkeypatch.setattr("sanakit.scoring.scorers.load_scorer", lambda name, **_: fake)
    return fake


def scores(path: Path) -> dict[str, list[float | None]]:
    source = open_data(path)
    return {source[i].key: [caption.score for caption in source[i].captions] for i in range(len(source))}


def test_scores_of_a_folder_are_read_back(run: Run, photos: Path, scorer: BrightnessScorer) -> None:
    (photos / "1 ü_VILA.json").write_text(json.dumps({"1 ü": {"prompt": "what VILA says"}}))
    outcome = run("data", "captions", "score", photos)
    assert outcome.code == 0, outcome.err
    assert "4 captions scored" in outcome.err
    length = len("a plain picture, number 0") / 1000
    assert scores(photos) == {"0 ü": [length], "1 ü": [10 + length, 10.014], "2 ü": [20 + length]}
    assert "0 captions scored, 4 had a score" in run("data", "captions", "score", photos).err
    assert "4 captions scored, 0 had a score" in run("data", "captions", "score", photos, "--replace").err


def test_a_linked_picture_outside_is_scored_where_its_folder_is_allowed(
    run: Run, photos: Path, tmp_path: Path, scorer: BrightnessScorer
) -> None:
    (tmp_path / "private").mkdir()
    (photos / "0 ü.png").rename(tmp_path / "private" / "b.png")
    (photos / "0 ü.png").symlink_to(tmp_path / "private" / "b.png")
    outcome = run("data", "captions", "score", photos)
    assert (outcome.code, "--also FOLDER" in outcome.out) == (1, True)
    assert run("data", "captions", "score", photos, "--also", tmp_path / "private").code == 0
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["b.png"]


def test_scores_of_shards_are_read_back(run: Run, photos: Path, tmp_path: Path, scorer: BrightnessScorer) -> None:
    shards = tmp_path / "shards"
    assert run("data", "build", photos, shards).code == 0
    outcome = run("data", "captions", "score", shards, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["num_scored"] == 3
    length = len("a plain picture, number 0") / 1000
    assert scores(shards) == {"0 ü": [length], "1 ü": [10 + length], "2 ü": [20 + length]}
    (written,) = shards.rglob("*_prompt_clip_score.json")
    assert written.name.startswith("00000")
    assert all(list(entry) == ["prompt"] for entry in json.loads(written.read_text()).values())


def test_two_that_write_scores_of_one_shard_lose_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is about to write what it read before the second began."""
    path, second = tmp_path / "00000_prompt_clip_score.json", []
    write = caption_scores.write_whole

    def slowly(place: Path, content: str) -> None:
        if not second:
            second.append(Thread(target=caption_scores._merge, args=(path, {"b": {"prompt": 2.0}})))
            second[0].start()
            second[0].join(0.2)
        write(place, content)

    monkeypatch.setattr(caption_scores, "write_whole", slowly)
    caption_scores._merge(path, {"a": {"prompt": 1.0}})
    second[0].join()
    assert json.loads(path.read_text()) == {"a": {"prompt": 1.0}, "b": {"prompt": 2.0}}


def test_tables_have_no_place_for_scores(run: Run, photos: Path, scorer: BrightnessScorer) -> None:
    rows = [{"file_name": path.name, "text": "something"} for path in photos.glob("*.png")]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    outcome = run("data", "captions", "score", photos)
    assert outcome.code == 2
    assert "sanakit data build" in outcome.err


def test_scores_are_kept_by_content_and_what_was_cut_is_named(
    run: Run, photos: Path, scorer: BrightnessScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy under other names, half of it in a shard, asks for nothing again."""
    asked: list[int] = []
    real = BrightnessScorer.score

    def score(self: BrightnessScorer, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        asked.append(len(texts))
        return real(self, images, texts)

    monkeypatch.setattr(BrightnessScorer, "score", score)
    monkeypatch.setattr(BrightnessScorer, "weights_hash", "ab", raising=False)
    monkeypatch.setattr(BrightnessScorer, "cuts", lambda self, text: text.endswith("2"), raising=False)
    told = run("data", "captions", "score", photos).err
    assert "1 captions are longer than brightness reads, which scored their start: 2 ü" in told
    first, other = scores(photos), tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    for number in range(2):
        for suffix in ("png", "txt"):
            (other / "sub" / f"copy{number}.{suffix}").write_bytes((photos / f"{number} ü.{suffix}").read_bytes())
    with tarfile.open(other / "00000.tar", "w") as tar:
        for suffix in ("png", "txt"):
            tar.add(photos / f"2 ü.{suffix}", f"in.{suffix}")
    outcome = run("data", "captions", "score", other)
    assert (outcome.code, sum(asked)) == (0, 3)
    assert scores(other) == {"in": first["2 ü"], "sub/copy0": first["0 ü"], "sub/copy1": first["1 ü"]}
