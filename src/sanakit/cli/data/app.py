"""``sanakit data``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.data.cache import cache, captions_app
from sanakit.cli.data.curate import curate, lineage
from sanakit.cli.data.layouts import build, inspect, validate
from sanakit.cli.data.worlds import worlds_app
from sanakit.cli.terminal.console import print_json, tell
from sanakit.cli.terminal.options import PrintJsonOption, TellOptions, add_commands, gathered

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets, check them, and make them.")
add_commands(data_app, inspect, validate, build, cache, curate, lineage)
data_app.add_typer(captions_app, name="captions")
data_app.add_typer(worlds_app, name="worlds")


class Split(StrEnum):
    """Which combinations the scenes show: those for training, or those held out for judging."""

    train = "train"
    heldout = "heldout"


@data_app.command("starter")
@gathered
def starter(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the data set: new, empty, or to be continued.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Pictures in all.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Decides which scenes.")] = 0,
    split: Annotated[Split, typer.Option(help="Seen in training, or held out of it.")] = Split.train,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Pixels a side.")] = 128,
    bank: Annotated[str, typer.Option(metavar="tiny|full|FOLDER", help="The things and places to show.")] = "tiny",
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only these things of the bank, one name a line.")
    ] = None,
    as_json: PrintJsonOption = False,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
) -> None:
    """Compose pictures and captions as the starter is trained on, as WebDataset shards.

    A tiny bank of things comes with sanakit; `sanakit data worlds build` makes the full one.
    Stop it at any time: the same command continues.
    """
    from sanakit.features.scenes import open_bank
    from sanakit.worlds.scene_shards import ScenesConfig, build_scene_shards

    kept = f"finished shards are in {out}, and the same command continues"
    with TellOptions(quiet=quiet).bar("composing", unit="pictures", kept=kept) as on_progress:
        config = ScenesConfig(num_samples=num_samples, seed=seed, split=split.value, size=size)
        build_scene_shards(out, open_bank(bank, str(names) if names else None), config, on_progress=on_progress)
    if as_json:
        print_json(
            {
                "folder": str(out),
                "bank": bank,
                "num_samples": num_samples,
                "seed": seed,
                "split": split.value,
                "size": size,
            }
        )
    tell(f"{num_samples} pictures in {out}; look at {out / 'contact-sheet.png'}", quiet=quiet or as_json)
