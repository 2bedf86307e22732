"""The commands about adapters: what one is, and what can be made of it."""

from __future__ import annotations

import typer

from sanakit.cli.adapter.commands import convert, extract, fuse, inspect, merge
from sanakit.cli.terminal.options import add_commands

adapter_app = typer.Typer(no_args_is_help=True, help="Look into adapters (LoRA and kin), convert, merge and fuse them.")
add_commands(adapter_app, inspect, convert, merge, extract, fuse)
