"""``sanakit upscale``"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.failures import check_all, one_by_one
from sanakit.cli.terminal.options import DeviceOptions, PlaceOptions
from sanakit.common.progress import OnProgress
from sanakit.pipelines.picture_place import OutputPlace

if TYPE_CHECKING:
    from sanakit.pipelines.upscaling.upscaler import Upscaler

_ROOM = 50_000_000  # bytes that must be free: what pictures take is known only when they are read


def upscale(
    run: DeviceOptions,
    places: PlaceOptions,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE|FOLDER...", help="Pictures of any origin, or folders of pictures.")
    ],
    scale: Annotated[int, typer.Option(metavar="2|4", help="How many times longer each side becomes.")] = 4,
) -> None:
    """Enlarge pictures with a small network, which is fetched once (43 MB, of which 1.3 MB are kept).

    A picture that sanakit made keeps its record, so that replay makes it again. What cannot be enlarged is told, the
    others are done, and the exit code is 1.
    """
    from sanakit.pipelines.upscaling.files import pictures_of
    from sanakit.pipelines.upscaling.upscaler import check_scale, load_upscaler

    check_scale(scale)
    pictures = pictures_of(files)
    place = places.with_room(_ROOM, num_images=sum(not path.is_dir() for path in pictures))
    start = time.perf_counter()
    upscaler = load_upscaler(scale, run.start())
    loaded = time.perf_counter()
    results: list[dict[str, Any]] = []
    with run.telling_what_is_done(lambda: {"pictures": results}):
        upscale_files(pictures, upscaler, place, run, results)
    num_done = sum("error" not in result for result in results)
    run.tell_result(num_done, {"pictures": results}, start=start, loaded=loaded)
    check_all(results)


def upscale_files(
    pictures: list[Path], upscaler: Upscaler, place: OutputPlace, run: DeviceOptions, results: list[dict[str, Any]]
) -> None:
    """One after the other; adds to ``results`` of each what a program may want to know."""
    from sanakit.pipelines.upscaling.files import no_picture_in

    with run.bar("upscaling", unit="tiles", kept="what was finished is kept") as told:

        def work(path: Path) -> dict[str, Any]:
            if path.is_dir():
                raise no_picture_in([path])
            result = upscale_file(path, upscaler, place, told)
            run.name_file(result["file"])
            return result

        one_by_one(pictures, work, results, name="source")


def upscale_file(path: Path, upscaler: Upscaler, place: OutputPlace, told: OnProgress) -> dict[str, Any]:
    """Read, enlarge, write."""
    from sanakit.pipelines.picture_file import check_format
    from sanakit.pipelines.upscaling.files import read_for_upscaling, upscale_picture

    before = read_for_upscaling(path, upscaler.scale)
    check_format(before.image, place.image_format, upscaler.scale)
    after = upscale_picture(upscaler, before, on_progress=told)
    file = place.write(f"{path.stem}-x{upscaler.scale}", after.image, after.record, after.carried)
    return {
        "file": str(file),
        "source": str(path),
        "size": list(after.image.size),
        "original_size": list(before.image.size),
        "scale": upscaler.scale,
        "upscaler": {"name": upscaler.name, "hash": upscaler.hash},
        "recipe": after.record.model_dump(mode="json") if after.record is not None else None,
    }
