"""``sanakit eval runs``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import say


def runs(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs; the first is compared with.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report.")] = Path("compared"),
) -> None:
    """Runs that learned from rewards on equal budgets: reward against CPU seconds."""
    from sanakit.training.watching.compared_runs import compare_runs

    compare_runs(folders, output)
    say(*(output / "report.md").read_text().splitlines(), f"{output}/")
