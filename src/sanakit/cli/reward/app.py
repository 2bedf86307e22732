"""The commands about rewards."""

from __future__ import annotations

import typer

from sanakit.cli.reward.serve import serve
from sanakit.cli.terminal.options import add_commands

reward_app = typer.Typer(no_args_is_help=True, help="Rewards that models learn from.")
add_commands(reward_app, serve)


@reward_app.callback()
def _group() -> None:
    """So that the only command keeps its name."""
