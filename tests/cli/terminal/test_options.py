"""Groups of options: one parameter of a command, an option a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer

from sanakit.cli.terminal.failures import Interrupted
from sanakit.cli.terminal.options import RunOptions, SourceOptions, TellOptions, add_commands
from sanakit.pipelines.record import ModelReference


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


def test_another_source_has_no_recorded_files() -> None:
    recorded = ModelReference(name="m", source="org/m", hash="0", dtypes={}, variant="fp16", revision="v1")
    assert SourceOptions().instead_of(recorded, None) == recorded
    assert SourceOptions(revision="v2").instead_of(recorded, None).revision == "v2"
    moved = SourceOptions(variant="bf16").instead_of(recorded, "folder")
    assert (moved.source, moved.variant, moved.revision) == ("folder", "bf16", None)


def test_an_interrupted_bar_says_what_is_kept() -> None:
    with pytest.raises(Interrupted, match="all of it"), TellOptions().bar("x", unit="y", kept="all of it"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), TellOptions().bar("x", unit="y"):
        raise KeyboardInterrupt
