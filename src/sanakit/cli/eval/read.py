"""``sanakit eval read``"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.eval.options import ReaderOption
from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.failures import check_all, one_by_one
from sanakit.cli.terminal.options import DeviceOptions
from sanakit.common.errors import PictureError
from sanakit.common.free_memory import free_memory
from sanakit.common.paths import is_clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sanakit.worlds.reading.read_clip import ReadClip
    from sanakit.worlds.reading.read_scene import Reader, ReadObject, ReadScene

_MOST_FRAMES = 128
_BYTES_PER_PIXEL = 32  # with all that is made on the way from a file's pixels to RGB; 16 bits take most


def read(
    run: DeviceOptions,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures and clips.")],
    reader: ReaderOption = None,
) -> None:
    """Say what a reader sees in pictures: things with their colours and places, and what is behind them; in clips also
    what the things do, in the first 16 seconds.

    What cannot be read is told, the others are done, and the exit code is 1.
    """
    from sanakit.scoring.reading.load import load_reader

    chosen = load_reader(reader, device=run.start())

    def look_at(path: Path) -> dict[str, Any]:
        seen = _watch(path, chosen) if _moves(path) else chosen.read(open_upright(path))
        if not run.as_json:
            say(f"{path}: {in_words(seen)}")
        return {"file": str(path), **seen.to_json()}

    facts: list[dict[str, Any]] = []
    answer = {"pictures": facts, "reader": {"name": chosen.name, "hash": chosen.weights_hash}}
    with run.telling_what_is_done(lambda: answer):
        one_by_one(files, look_at, facts, name="file")
    if run.as_json:
        print_json(answer)
    check_all(facts)


def _moves(path: Path) -> bool:
    from sanakit.data.films.animations import is_animation

    if is_clip(path) or not path.is_file():
        return is_clip(path)
    with suppress(OSError), path.open("rb") as file:
        return is_animation(file)
    return False


def open_upright(path: Path) -> NDArray[np.uint8]:
    """``(H, W, 3)``, as training sees it: EXIF orientation applied, alpha over white, 16 bits reduced to 8, colours of
    a profile inside or of one that the file names in sRGB.

    Raises:
        PictureError: it cannot be read, is an animation, needs more memory than is free, or its pixels are no levels.
    """
    import numpy as np

    from sanakit.common.colours.named import add_named_profile
    from sanakit.data.pictures import upright_rgb
    from sanakit.pipelines.picture_file import open_single_picture

    picture = open_single_picture(path, check=lambda size: _check_memory(path, size))
    try:
        add_named_profile(picture, path.read_bytes())
        return np.asarray(upright_rgb(picture))
    except PictureError as error:
        raise PictureError(f"{path} cannot be read: {error}") from error


def _check_memory(path: Path, size: tuple[int, int]) -> None:
    """Before the pixels are read."""
    need, free = size[0] * size[1] * _BYTES_PER_PIXEL, free_memory()
    if free is not None and need > free:
        raise PictureError(
            f"{path} with its {size[0]}x{size[1]} px needs {need / 1e9:.1f} GB of memory to be read, "
            f"and {free / 1e9:.1f} GB are free"
        )


def _watch(path: Path, reader: Reader) -> ReadClip:
    from sanakit.data.clips import beginning
    from sanakit.worlds.reading.read_clip import READ_FPS, read_clip

    if not path.is_file():
        raise PictureError(f"{path} does not exist or is no file")
    try:
        with path.open("rb") as file:
            return read_clip(reader, *beginning(file, fps=READ_FPS, at_most=_MOST_FRAMES))
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read ({error.strerror})") from error


def in_words(seen: ReadScene | ReadClip) -> str:
    """ "red apple (97%) at 0.10 0.20 0.60 0.90; ground: blue"; of clips without places: "red apple moving up (97%)"."""
    from sanakit.worlds.reading.read_scene import ReadScene

    behind = f"place: {seen.place}" if seen.place else f"ground: {seen.ground or 'unknown'}"
    if isinstance(seen, ReadScene):
        return "; ".join([*(_thing(thing) for thing in seen.objects), behind])
    return "; ".join([*(f"{thing.words} ({thing.score:.0%})" for thing in seen.things), behind])


def _thing(thing: ReadObject) -> str:
    words = f"{thing.colour} {thing.name}" if thing.colour else thing.name or "something unknown"
    return f"{words} ({thing.score:.0%}) at {' '.join(f'{edge:.2f}' for edge in thing.box)}"
