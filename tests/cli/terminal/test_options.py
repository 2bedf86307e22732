"""Groups of options: one parameter of a command, an option a field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import typer

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.sources.origin import starter_folder
from sanakit.cli.app import main
from sanakit.cli.terminal.failures import Interrupted
from sanakit.cli.terminal.options import PlaceOptions, RunOptions, SourceOptions, TellOptions, add_commands
from sanakit.common.errors import PictureError
from sanakit.pipelines.record import ModelReference
from sanakit.pipelines.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Size:
    side: Annotated[int, typer.Option(min=1, help="Pixels.")] = 32
    upright: bool = False


def entered(*words: str) -> dict[str, Any]:
    """What a command with two groups and options of its own is given."""
    seen: dict[str, Any] = {}

    def draw(size: Size, prompt: str, run: RunOptions, seed: int = 0) -> None:
        """Draw."""
        seen.update(size=size, prompt=prompt, run=run, seed=seed)

    draw.__annotations__ = {"size": Size, "prompt": str, "run": RunOptions, "seed": int, "return": None}
    app = typer.Typer()
    add_commands(app, draw)
    typer.main.get_command(app).main(list(words), standalone_mode=False)
    return seen


def test_a_group_is_put_together_from_its_options() -> None:
    assert entered("cat") == {"size": Size(), "prompt": "cat", "run": RunOptions(), "seed": 0}
    words = ("cat", "--side", "8", "--upright", "--variant", "fp16", "--device", "cpu", "-q", "--seed", "3")
    run = RunOptions(variant="fp16", device="cpu", quiet=True)
    assert entered(*words) == {"size": Size(side=8, upright=True), "prompt": "cat", "run": run, "seed": 3}


def test_what_an_option_may_be_is_checked() -> None:
    with pytest.raises(typer.TyperException, match="greater than or equal to 1"):
        entered("cat", "--side", "0")


def test_a_record_decides_dtypes_and_commits_of_borrowed_parts_alone() -> None:
    dtypes = {"transformer": "bfloat16"}
    recorded = ModelReference(
        name="m", source="org/m", kind="hub", hash="0", dtypes=dtypes, variant="fp16", revision="v1"
    )
    with pytest.raises(PictureError, match=r"name the model with --model org/m --variant fp16 --revision v1$"):
        SourceOptions(revision="v2").named(recorded, None, Path("a.png"))
    source, options = SourceOptions(variant="bf16").named(recorded, "folder", Path("a.png"))
    assert (source, options) == ("folder", {"dtype": dtypes, "quantize": None, "hub": HubOptions(variant="bf16")})
    commits = {"transformer": "c1", "autoencoder": "c1", "text_encoder": "c2"}
    borrowing = recorded.model_copy(update={"commits": commits})
    assert SourceOptions().named(borrowing, "org/m", Path("a.png"))[1]["hub"].commits == {"text_encoder": "c2"}
    assert SourceOptions().named(borrowing, "org/other", Path("a.png"))[1]["hub"].commits == {}
    starter = recorded.model_copy(update={"kind": "starter", "source": "starter"})
    assert SourceOptions().named(starter, None, Path("a.png"))[0] == starter_folder()


def test_an_interrupted_bar_says_what_is_kept() -> None:
    with pytest.raises(Interrupted, match="all of it"), TellOptions().bar("x", unit="y", kept="all of it"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), TellOptions().bar("x", unit="y"):
        raise KeyboardInterrupt


def test_how_long_loading_and_pictures_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 16.0004)
    TellOptions(as_json=True).tell_result(2, {"pictures": []}, start=10.0, loaded=12.5)
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"pictures": [], "seconds": {"loading": 2.5, "pictures": 3.5}}
    assert shown.err == "2 pictures in 3.5 s, after 2.5 s of loading\n"
    TellOptions(quiet=True).tell_result(1, {}, start=10.0, loaded=12.5)
    assert capsys.readouterr() == ("", "")


def test_loading_and_pictures_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both commands give the moments in their order."""
    told: list[tuple[float, float]] = []
    monkeypatch.setattr(
        TellOptions, "tell_result", lambda self, number, facts, *, start, loaded, **how: told.append((start, loaded))
    )
    moments = iter([1.0, 4.0, 1.0, 4.0])
    clock = SimpleNamespace(perf_counter=lambda: next(moments))
    monkeypatch.setattr("sanakit.cli.generate.time", clock)
    monkeypatch.setattr("sanakit.cli.upscale.time", clock)
    monkeypatch.setattr(RunOptions, "load", lambda *words, **options: lambda requests, **how: None)
    monkeypatch.setattr("sanakit.pipelines.upscaling.upscaler.load_upscaler", lambda scale, device: None)
    monkeypatch.setattr("sanakit.cli.upscale.upscale_files", lambda *words: None)
    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "a cat"]) == main(["upscale", "a.png"]) == 0
    assert told == [(1.0, 4.0), (1.0, 4.0)]


def test_room_is_that_of_the_pictures_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        PlaceOptions, "with_room", lambda self, num_bytes, *, num_images: asked.append((num_bytes, num_images))
    )
    for fields in ({"width": 64, "height": 96, "upscale": 2}, {}):
        PlaceOptions().choose(GenerationRequest(prompt="a cat", **fields), num_images=3)
    assert asked == [(3 * 4 * 64 * 96 * 4, 3), (3 * 4 * 1024**2, 3)]
