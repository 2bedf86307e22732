"""``sanakit convert``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import print_json, say, tell
from sanakit.cli.terminal.options import PrintJsonOption, ReplaceOption, SourceOptions


class Layout(StrEnum):
    """How the weights are laid out: a diffusers folder, upstream's .pth, one .safetensors file, or nunchaku's."""

    diffusers = "diffusers"
    upstream = "upstream"
    safetensors = "safetensors"
    nunchaku = "nunchaku"


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="Folder, file, hub id, or starter.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New folder or file.")],
    files: SourceOptions,
    layout: Annotated[Layout | None, typer.Option(help="The suffix of OUT decides if not given.")] = None,
    autoencoder: Annotated[str | None, typer.Option(help="Source of an autoencoder that IN lacks.")] = None,
    text_encoder: Annotated[str | None, typer.Option(help="Source of a text encoder that IN lacks.")] = None,
    force: ReplaceOption = False,
    as_json: PrintJsonOption = False,
) -> None:
    """Rewrite a model in another layout; its numbers stay as they are."""
    from sanakit.checkpoints.editing.convert import convert as convert_model
    from sanakit.checkpoints.editing.convert import layout_of_target

    chosen = layout or Layout(layout_of_target(target))
    notes = convert_model(
        source, target, chosen.value, autoencoder=autoencoder, text_encoder=text_encoder, hub=files.hub, force=force
    )
    if as_json:
        print_json({"target": str(target), "layout": chosen.value, "notes": notes})
        return
    say(target)
    for note in notes:
        tell(note)
