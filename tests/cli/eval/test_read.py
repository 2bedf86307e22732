"""``sanakit eval read``"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from sanakit.cli.app import main
from sanakit.cli.eval.read import open_upright
from sanakit.data.pictures import decode_picture
from sanakit.pipelines.clips.passing import PassingFrames
from sanakit.pipelines.clips.writing import write_clip
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene


class Seeing:
    name, weights_hash = "toy", "abc"

    def read(self, picture: np.ndarray) -> ReadScene:
        apple = ReadObject(name="apple", colour="red", box=(0.1, 0.2, 0.6, 0.9), score=0.97)
        something = ReadObject(name=None, colour=None, box=(0.0, 0.0, 0.1, 0.1), score=0.5)
        return ReadScene(objects=(apple, something), ground="blue")


def test_what_is_seen_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sanakit.scoring.reading.load.load_reader", lambda *_, **__: Seeing())
    file = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(file)
    assert main(["eval", "read", str(file)]) == 0
    assert capsys.readouterr().out == (
        f"{file}: red apple (97%) at 0.10 0.20 0.60 0.90; "
        "something unknown (50%) at 0.00 0.00 0.10 0.10; ground: blue\n"
    )
    assert main(["eval", "read", "--json", str(file)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["pictures"][0]["objects"][0]["name"] == "apple"


def test_what_cannot_be_read_is_told_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sanakit.scoring.reading.load.load_reader", lambda *_, **__: Seeing())
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    Path("b.png").write_text("no picture")
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save("moving.png", save_all=True, append_images=frames[1:])
    Image.new("F", (4, 4)).save("float.tif")
    bad = {
        "no.png": "no.png does not exist or is no file",
        "b.png": "b.png is not a picture",
        "moving.png": "moving.png holds 2 pictures",
        "float.tif": "float.tif cannot be read: the picture holds floating-point numbers",
    }
    for path, words in bad.items():
        assert main(["eval", "read", path]) == 1
        told = capsys.readouterr().err
        assert (words in told, told.count("\n")) == (True, 1)
    assert main(["eval", "read", "--json", *bad, "a.png"]) == 1
    outcome = capsys.readouterr()
    assert outcome.err.count("sanakit: ") == 4
    *failed, good = json.loads(outcome.out)["pictures"]
    assert [each["file"] for each in failed] == list(bad)
    assert all(words in each["error"] for each, words in zip(failed, bad.values(), strict=True))
    assert good["objects"][0]["name"] == "apple"
    monkeypatch.setattr("sanakit.cli.eval.read.free_memory", lambda: 100)
    assert main(["eval", "read", "a.png"]) == 1
    assert "a.png with its 8x8 px needs" in capsys.readouterr().err


def test_pictures_are_read_as_they_are_seen(tmp_path: Path) -> None:
    tall = Image.new("RGB", (2, 4), "white")
    tall.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    tall.save(tmp_path / "turned.png", exif=exif)
    turned = open_upright(tmp_path / "turned.png")
    assert turned.shape == (2, 4, 3)
    assert turned[0, 3].tolist() == [255, 0, 0]
    Image.new("RGBA", (2, 2)).save(tmp_path / "clear.png")
    assert open_upright(tmp_path / "clear.png").min() == 255
    Image.fromarray(np.full((2, 2), 257 * 128, np.uint16)).save(tmp_path / "deep.png")
    assert np.unique(open_upright(tmp_path / "deep.png")).tolist() == [128]


def test_colours_that_a_file_only_names_are_those_that_training_sees(tmp_path: Path) -> None:
    """EXIF of a camera set to Adobe RGB, which has no profile inside."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    Image.new("RGB", (4, 4), (200, 160, 140)).save(tmp_path / "adobe.png", exif=exif)
    seen = open_upright(tmp_path / "adobe.png")
    assert np.array_equal(seen, np.asarray(decode_picture((tmp_path / "adobe.png").read_bytes())))
    np.testing.assert_allclose(seen[0, 0], (215, 161, 140), atol=2)


def test_of_a_clip_it_is_told_what_things_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Following(Seeing):
        def read(self, picture: np.ndarray) -> ReadScene:
            left = float(picture[0].mean(axis=1).argmax()) / picture.shape[1]  # where the bright column is
            apple = ReadObject(name="apple", colour="red", box=(left, 0.2, left + 0.2, 0.4), score=0.97)
            return ReadScene(objects=(apple,), ground="blue")

    monkeypatch.setattr("sanakit.scoring.reading.load.load_reader", lambda *_, **__: Following())
    frames = np.zeros((9, 32, 64, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, 4 * number : 4 * number + 4] = 255
    write_clip(tmp_path / "a.mp4", PassingFrames(frames), 8, "mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:300])
    assert main(["eval", "read", str(tmp_path / "a.mp4")]) == 0
    assert (
        capsys.readouterr().out == f"{tmp_path / 'a.mp4'}: red apple quickly moving to the right (97%); ground: blue\n"
    )
    assert main(["eval", "read", "--json", str(tmp_path / "a.mp4")]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"][0]["things"][0]["motion"]["kind"] == "right"
    assert main(["eval", "read", str(tmp_path / "b.mp4")]) == 1
    assert "b.mp4: the clip cannot be read" in capsys.readouterr().err
