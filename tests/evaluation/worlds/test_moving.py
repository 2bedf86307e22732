"""Motion, measured: true clips count as right, wrong ones do not pass, and a model is judged by its clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sanakit.cli.app import main
from sanakit.common.errors import ConfigError
from sanakit.evaluation.worlds.moving import Clips, motion_reading_report, motion_report
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.captions import canonical_caption


class ByHeart:
    """Knows every frame of the true clips by its bytes."""

    name = weights_hash = resize_rule = "by heart"

    def __init__(self, clips: Clips) -> None:
        self._known = {
            frame.tobytes(): _seen(scene, number)
            for scene in clips.scenes()
            for number, frame in enumerate(clips.paint(scene))
        }

    def read(self, picture: NDArray[np.uint8]) -> ReadScene:
        return self._known.get(picture.tobytes(), ReadScene(objects=()))


def _seen(scene: Scene, frame: int) -> ReadScene:
    objects = tuple(
        ReadObject(name=thing.name, colour=thing.colour, box=thing.at(frame).box, score=1.0)
        for thing in scene.objects
        if thing.at(frame).seen
    )
    place = scene.ground.kind == "place"
    return ReadScene(objects=objects, **{"place" if place else "ground": scene.ground.name})


@pytest.fixture(scope="module")
def bank() -> Bank:
    return load_bank("tiny").subset(["apple", "dog", "car", "star", "cup", "tree"])


@pytest.fixture(scope="module")
def asked(bank: Bank) -> Clips:
    return Clips(bank=bank, num=14, seed=1, size=32, num_frames=9, fps=4.0)


@pytest.fixture(scope="module")
def reader(asked: Clips) -> ByHeart:
    return ByHeart(asked)


def test_a_reader_that_knows_is_right_and_passes_nothing_wrong(asked: Clips, reader: ByHeart) -> None:
    report = motion_reading_report(reader, asked)
    assert report["object and motion"].value > 0.9
    for wrong in ("a still", "backwards", "another thing", "another motion"):
        assert report[f"passes: {wrong}"].value == 0
        assert report[f"passes: {wrong}"].better == "lower"
    confusion = report.details["confusion"]
    assert confusion["still"] == {"still": sum(confusion["still"].values())}


def test_a_model_is_judged_by_its_clips_beside_true_ones(asked: Clips, reader: ByHeart) -> None:
    scenes = {canonical_caption(scene, asked.bank): scene for scene in asked.scenes()}

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[NDArray[np.uint8], float]]:
        clips = [asked.paint(scenes[prompt]) for prompt in prompts]
        return [
            (clip if index % 2 else clip[[-1] * len(clip)], asked.fps) for clip, index in zip(clips, seeds, strict=True)
        ]

    report = motion_report(draw, reader, asked, settings={"model": "toy"})
    assert report["true: object and motion"].value > 0.9
    drawn = report.details["clips"]
    assert [line["prompt"] for line in drawn] == [canonical_caption(scene, asked.bank) for scene in asked.scenes()]
    moving = [line["answers"]["motion"] for line, scene in zip(drawn, asked.scenes(), strict=True) if _moves(scene)]
    assert not all(moving)
    alone = [scene.kind == "single" for scene in asked.scenes()]
    assert 0 < sum(alone) == report["object and motion, one thing"].num_samples < len(alone)


def _moves(scene: Scene) -> bool:
    return any(thing.motion is not None for thing in scene.objects)


def test_nothing_to_see_is_refused(bank: Bank) -> None:
    with pytest.raises(ConfigError, match="at least 1 clip of 3 frames"):
        Clips(bank=bank, num=1, seed=0, num_frames=2)


def test_the_command_judges_a_model_of_clips_and_refuses_one_of_pictures(
    clip_model: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Blind(ByHeart):
        words = SimpleNamespace(readable=frozenset({"apple", "dog"}))

        def __init__(self) -> None:
            self._known = {}

    monkeypatch.setattr("sanakit.scoring.reading.load.load_reader", lambda *_, **__: Blind())
    command = ["eval", "motion", "--bank", "tiny", "--num", "1", "--steps", "1", "--guidance-scale", "1"]
    assert main([*command, "--model", str(clip_model), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {each["name"]: each["value"] for each in report["measurements"]}["object and motion"] == 0
    assert report["inputs"]["frames"] == 9
    assert main([*command, "--model", str(tiny_model)]) == 2
    assert "give a model of clips" in capsys.readouterr().err
    assert main([*command, "--distances"]) == 2
    assert main([*command, "--model", str(clip_model), "--distances"]) == 2
    assert "--distances of --num 1: too few for a distance" in capsys.readouterr().err


def test_sheets_of_clips_are_strips_or_all_of_them_moving(
    clip_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sanakit.worlds.telling.sheet_prompts.CLIP_SHEET_PROMPTS", ("a cat moving left", "a dog"))
    command = ["eval", "motion", "--sheet", "--steps", "1", "--guidance-scale", "1", "--output"]
    for name in ("strips.png", "all.gif"):
        assert main([*command, str(tmp_path / name), "--model", str(clip_model)]) == 0
    with Image.open(tmp_path / "strips.png") as strips, Image.open(tmp_path / "all.gif") as moving:
        assert strips.width > 9 * 32
        assert strips.height > 2 * 32
        assert 1 < moving.n_frames <= 9  # type: ignore[attr-defined]  # equal ones that follow each other are one
        assert moving.info["duration"] % 120 == 0  # eight a second, in hundredths
    assert main([*command, str(tmp_path / "a.mp4"), "--model", str(clip_model)]) == 2
    assert "a .png of film strips, or a .gif" in capsys.readouterr().err
