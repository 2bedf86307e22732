"""``sanakit data``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.data.cache import cache, captions_app
from sanakit.cli.data.curate import curate, lineage
from sanakit.cli.data.layouts import build, inspect, validate
from sanakit.cli.terminal.console import print_json, tell
from sanakit.cli.terminal.failures import Interrupted

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets, check them, and make them.")
for command in (inspect, validate, build, cache, curate, lineage):
    data_app.command()(command)
data_app.add_typer(captions_app, name="captions")


class Split(StrEnum):
    """Which combinations the scenes show: those for training, or those held out for judging."""

    train = "train"
    heldout = "heldout"


@data_app.callback()
def describe() -> None:
    """Look at data sets, check them, and make them."""


@data_app.command("starter")
def starter(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the data set: new, empty, or to be continued.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Pictures in all.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Decides which scenes.")] = 0,
    split: Annotated[Split, typer.Option(help="Seen in training, or held out of it.")] = Split.train,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Pixels a side.")] = 128,
    redraw: Annotated[
        bool, typer.Option(help="Draw the sprites anew from the icon package; needs npm and sanakit's extra 'data'.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
) -> None:
    """Compose the pictures and captions that the starter was trained on, as WebDataset shards.

    The drawings come with sanakit, so nothing is fetched; --redraw makes them again from their source.
    Stop it at any time: the same command continues.
    """
    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.common.user_cache import user_cache_folder
    from sanakit.worlds.scenes.build import build_starter_data
    from sanakit.worlds.scenes.sprites import build_sprite_bank

    try:
        bank = build_sprite_bank(user_cache_folder() / "packages") if redraw else None
        with ProgressBar("composing", unit="pictures", quiet=quiet) as bar:
            build_starter_data(
                out, num_samples=num_samples, seed=seed, split=split.value, size=size, bank=bank,
                on_progress=bar.update,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; finished shards are in {out}, and the same command continues") from None
    if as_json:
        print_json({"folder": str(out), "num_samples": num_samples, "seed": seed, "split": split.value, "size": size})
    tell(f"{num_samples} pictures in {out}; look at {out / 'contact-sheet.png'}", quiet=quiet or as_json)
