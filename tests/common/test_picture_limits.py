"""A large picture is told as large, not as damaged."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sanakit.cli.app import main
from sanakit.common.errors import PictureError, RequestError
from sanakit.common.picture_limits import PictureTooLargeError, open_within_limit, raise_limit
from sanakit.data.curation.on_ray import here
from sanakit.data.open import open_data
from sanakit.pipelines.picture_file import open_picture


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))


def picture(folder: Path, side: int) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("1", (side, side), 1).save(folder / "map.png")
    (folder / "map.txt").write_text("a large map")
    return folder / "map.png"


def test_the_sentence_says_how_large_and_what_allows_it(tmp_path: Path) -> None:
    monster = picture(tmp_path / "data", 2000)
    sentence = "the picture has 4 megapixels; more than 0 are not read unless --max-pixels allows it"
    with pytest.raises(PictureTooLargeError, match=sentence):
        open_within_limit(monster)
    with pytest.raises(PictureError, match=sentence):
        open_picture(monster)
    problems = open_data(tmp_path / "data").problems
    assert [(problem.reason, problem.detail) for problem in problems] == [("too_large", f"map.png: {sentence}")]


def test_rather_large_is_no_warning(tmp_path: Path) -> None:
    path = picture(tmp_path / "data", 90)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_within_limit(path) as opened:
            assert opened.size == (90, 90)


def test_the_shell_raises_the_limit(tmp_path: Path, capfd: Any) -> None:
    picture(tmp_path / "data", 2000)
    words = ["data", "validate", str(tmp_path / "data")]
    assert main(words) == 1
    assert "too_large" in capfd.readouterr().out
    for option in (["--max-pixels", "4000000"], ["--max-pixels=4000000"]):
        Image.MAX_IMAGE_PIXELS = 5_000
        assert main([*words, *option]) == 0
        assert main([*option, *words]) == 0
    for wrong in ("many", "0", "-5", "1e9", "99999999999"):
        assert main([*words, f"--max-pixels={wrong}"]) == 2
    assert main([*words, "--max-pixels"]) == 2
    assert "must be a whole number of pixels" in capfd.readouterr().err


def test_workers_of_a_curation_read_up_to_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12_345)
    sent = pickle.loads(pickle.dumps(here()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    sent.take_on()
    assert Image.MAX_IMAGE_PIXELS == 12_345


@pytest.mark.parametrize("name", ["a.eps", "a.png"])
def test_a_program_that_calls_itself_a_picture_is_not_run(tmp_path: Path, name: str) -> None:
    """Pillow hands PostScript to Ghostscript."""
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{} loop\n")
    with pytest.raises(PictureError, match="is not a picture that can be read"):
        open_picture(tmp_path / name)


def test_the_limit_is_to_the_pixel_as_pillow_counts() -> None:
    for words, half in (("1", 1), ("2", 1), ("3", 2), ("2147483647", 2**30)):
        raise_limit(words)
        assert half == Image.MAX_IMAGE_PIXELS
    with pytest.raises(RequestError, match=r"--max-pixels 2147483648 is not usable.* up to 2147483647"):
        raise_limit("2147483648")
