"""``sanakit studio``"""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.serving.options import AddressOptions, KeepingOptions, LaneOptions
from sanakit.cli.serving.serve import serve_model
from sanakit.cli.terminal.options import ModelArgument, PartsOptions
from sanakit.common.files import unwritten


def studio(
    run: PartsOptions,
    address: AddressOptions,
    lanes: LaneOptions,
    keeping: KeepingOptions,
    model: ModelArgument = "starter",
    gallery: Annotated[Path, typer.Option(metavar="FOLDER", help="Where finished pictures are kept.")] = Path(
        "sanakit-studio"
    ),
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Draw in a page of the browser, over the same server as that of serve."""
    with unwritten(gallery):
        gallery.mkdir(parents=True, exist_ok=True)

    def ready(url: str) -> None:
        run.tell(f"pictures are kept in {gallery.resolve()}")
        if browser and _has_screen():
            webbrowser.open(url)

    serve_model(run, address, lanes, keeping, model, gallery=gallery, on_ready=ready)


def _has_screen() -> bool:
    """Where there is none, a browser of the terminal would take it."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
