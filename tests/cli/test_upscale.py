"""``sanakit upscale`` and ``--upscale`` with a tiny upscaler in the cache, as a user would type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sanakit.pipelines.picture_file import read_record


@pytest.fixture(autouse=True)
def _tiny(upscaler_cache: Path, tmp_path: Path) -> None:
    Image.new("RGB", (10, 6), "teal").save("a.png")
    Image.new("RGBA", (4, 4)).save("b.webp")


def test_one_file(run: Any) -> None:
    outcome = run("upscale", "a.png")
    assert (outcome.code, outcome.out) == (0, "a-x4.png\n")
    assert Image.open("a-x4.png").size == (40, 24)
    assert run("upscale", "a.png", "--scale", "2", "--format", "jpeg", "-q").out == ""
    assert (Image.open("a-x2.jpg").size, Image.open("a-x2.jpg").format) == ((20, 12), "JPEG")
    assert run("upscale", "a.png").out == "a-x4-2.png\n"  # nothing is overwritten
    assert run("upscale", "a.png", "-o", "a.png").code == 0  # unless it is named
    assert Image.open("a.png").size == (40, 24)


def test_a_folder_in_json_and_what_fails_is_told(run: Any) -> None:
    Path("in").mkdir()
    for name in ("a.png", "b.webp"):
        Path(name).rename(Path("in") / name)
    (Path("in") / "c.png").write_text("no picture")
    outcome = run("upscale", "in", "-o", "out/", "--json")
    assert outcome.code == 1
    first, second, third = json.loads(outcome.out)["pictures"]
    assert (first["file"], first["size"], first["original_size"], first["scale"]) == (
        "out/a-x4.png",
        [40, 24],
        [10, 6],
        4,
    )
    assert first["upscaler"]["name"] == "realesr-animevideov3"
    assert Image.open(second["file"]).mode == "RGBA"
    assert "not a picture" in third["error"]
    assert "in/c.png is not a picture" in outcome.err
    assert "2 pictures in" in outcome.err


def test_an_empty_folder_is_told_and_the_others_are_done(run: Any) -> None:
    Path("empty").mkdir()
    outcome = run("upscale", "empty", "a.png", "-o", "large.png")
    assert (outcome.code, outcome.out) == (1, "large.png\n")
    assert "sanakit: the folder empty holds no picture" in outcome.err
    assert "1 picture in" in outcome.err
    told, done = json.loads(run("upscale", "empty", "a.png", "--json").out)["pictures"]
    assert (told["source"], "holds no picture" in told["error"], done["file"]) == ("empty", True, "a-x4.png")
    outcome = run("upscale", "empty", "cache")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "the folders empty, cache hold no picture" in outcome.err


def test_a_generated_picture(run: Any, tiny_model: Path) -> None:
    words = ("a cat", "--steps", "1", "--model", tiny_model, "--device", "cpu")
    outcome = run("generate", *words, "--upscale", "4", "-o", "cat.png", "--json")
    assert outcome.code == 0
    recipe = json.loads(outcome.out)["pictures"][0]["recipe"]
    assert (recipe["request"]["width"], recipe["request"]["upscale"], recipe["image"]["width"]) == (128, 4, 512)
    assert recipe["needs"] == ["upscaling"]
    assert "Size: 128x128" in Image.open("cat.png").text["parameters"]
    assert "Postprocess upscale by: 4" in Image.open("cat.png").text["parameters"]
    assert run("replay", "cat.png", "--model", tiny_model).out == "identical\n"

    assert run("generate", *words, "-o", "small.png", "-q").code == 0
    assert "upscale" not in json.loads(read_record("small.png").to_json())["request"]  # an older sanakit reads it
    assert run("upscale", "small.png", "-o", "later.png", "-q").code == 0
    assert Path("later.png").read_bytes() == Path("cat.png").read_bytes()
    assert run("replay", "later.png", "--model", tiny_model).out == "identical\n"


def test_another_upscaler_is_named_by_replay(run: Any, tiny_model: Path, upscaler_cache: Path) -> None:
    words = ("a cat", "--steps", "1", "--model", tiny_model, "--device", "cpu", "--upscale", "2")
    assert run("generate", *words, "-o", "cat.webp").code == 0
    from sanakit.pipelines.upscaling import upscaler

    upscaler._loaded.cache_clear()
    config = json.loads((upscaler_cache / "config.json").read_text())
    (upscaler_cache / "config.json").write_text(json.dumps(config | {"scale": 2, "hidden_size": 4}))
    import torch
    from safetensors.torch import save_file

    from sanakit.models.compact_upscaler import CompactUpscaler, CompactUpscalerConfig

    torch.manual_seed(9)
    other = CompactUpscaler(CompactUpscalerConfig(scale=2, hidden_size=4, num_layers=1))
    save_file(other.state_dict(), upscaler_cache / "model.safetensors")
    outcome = run("replay", "cat.webp", "--model", tiny_model)
    assert outcome.code == 1
    assert "the upscaler was realesr-animevideov3" in outcome.out
    upscaler._loaded.cache_clear()


BAD: list[tuple[tuple[str, ...], int, str]] = [
    (("a.png", "--scale", "3"), 2, "must be 2 or 4"),
    (("missing.png",), 1, "does not exist"),
    (("a.png", "b.webp", "-o", "one.png"), 2, "one file for 2 pictures"),
    (("a.png", "-o", "a.gif"), 2, "no picture"),
    (("b.webp", "-o", "b.jpg"), 1, "does not hold transparency"),
    ((), 2, "Missing argument"),
    (("a.png", "--device", "tpu"), 2, "is not here"),
    (("cache",), 2, "holds no picture"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD)
def test_bad_input_gets_one_sentence(run: Any, words: tuple[str, ...], code: int, message: str) -> None:
    outcome = run("upscale", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err
    assert outcome.err.startswith("sanakit: ")
    assert outcome.err.count("\n") == 1


def test_ctrl_c_keeps_what_is_finished(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sanakit.pipelines.upscaling import files

    done = []
    original = files.upscale_picture

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(True)
        return original(*args, **kwargs)

    monkeypatch.setattr(files, "upscale_picture", interrupted)
    outcome = run("upscale", "a.png", "b.webp")
    assert outcome.code == 130
    assert outcome.err.endswith("what was finished is kept\n")
    assert sorted(path.name for path in Path().glob("*-x4.png")) == ["a-x4.png"]
