"""``sanakit eval read``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.terminal.console import print_json
from sanakit.cli.terminal.options import DeviceOptions
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.worlds.reading.read_scene import ReadObject, ReadScene


def read(
    run: DeviceOptions,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures.")],
    reader: Annotated[str | None, typer.Option(help="Folder of a recogniser; the one that ships if not given.")] = None,
) -> None:
    """Say what a reader sees in pictures: things with their colours and places, and what is behind them."""
    if missing := [path for path in files if not path.is_file()]:
        raise RequestError(f"{missing[0]} is not a file; give pictures")

    import numpy as np
    from PIL import Image, UnidentifiedImageError

    from sanakit.scoring.reading.load import load_reader

    chosen = load_reader(reader, device=run.start())
    facts = []
    for path in files:
        try:
            with Image.open(path) as image:
                picture = np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise RequestError(f"{path} is not a picture that can be read") from error
        seen = chosen.read(picture)
        facts.append({"file": str(path), **seen.to_json()})
        if not run.as_json:
            print(f"{path}: {in_words(seen)}", flush=True)
    if run.as_json:
        print_json({"pictures": facts, "reader": {"name": chosen.name, "hash": chosen.weights_hash}})


def in_words(seen: ReadScene) -> str:
    """ "red apple (97%) at 0.10 0.20 0.60 0.90; ground: blue"."""
    behind = f"place: {seen.place}" if seen.place else f"ground: {seen.ground or 'unknown'}"
    return "; ".join([*(_thing(thing) for thing in seen.objects), behind])


def _thing(thing: ReadObject) -> str:
    words = f"{thing.colour} {thing.name}" if thing.colour else thing.name or "something unknown"
    return f"{words} ({thing.score:.0%}) at {' '.join(f'{edge:.2f}' for edge in thing.box)}"
