"""``sanakit data curate`` and ``sanakit data lineage``"""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.terminal.console import print_json, say, tell
from sanakit.cli.terminal.options import PrintJsonOption, TellOptions

if TYPE_CHECKING:
    from sanakit.data.curation.captioners import ScorerLoader
    from sanakit.data.curation.config import CurationConfig


def curate(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Pictures, with captions or without: any layout.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the shards: new, empty, or to be continued.")],
    recipe: Annotated[Path, typer.Option(metavar="RECIPE.yaml", help="Filters, captioners and scorer.")],
    ray: Annotated[bool, typer.Option("--ray", help="Run on Ray; the result is the same.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Change a setting of the recipe; may be repeated."),
    ] = None,
    trust_remote_code: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A captioner or the scorer of the recipe: its code may be run.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="That decode pictures, without --ray.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bar and no table.")] = False,
) -> None:
    """Filter pictures, caption and score them, and write shards with the lineage of every sample.

    recipes/curation.yaml is one to copy. Stop it at any time: the same command continues.
    """
    from sanakit.cli.terminal.recipe_file import apply_override, read_recipe
    from sanakit.common.config import from_mapping
    from sanakit.data.curation.config import CurationConfig, pinned, trusting
    from sanakit.data.curation.curate import run_here, run_on_ray
    from sanakit.data.curation.output import begun_settings

    settings = read_recipe(recipe)
    for override in overrides or []:
        apply_override(settings, override, CurationConfig)
    config = trusting(from_mapping(CurationConfig, settings, where="recipe"), trust_remote_code)
    config = pinned(config, begun_settings(out), partial(_commit_of, trusted=trust_remote_code))
    sys.path.append(str(Path.cwd()))  # for plug-in captioners that lie beside the recipe
    run = run_on_ray if ray else partial(run_here, num_threads=threads)
    kept = f"what is finished is kept in {out}, and the same command continues"
    with TellOptions(quiet=quiet).bar("curating", unit="pictures", kept=kept) as on_progress:
        summary = run(
            source, out, config, load_scorer=_scorer_loader(config, trust_remote_code), on_progress=on_progress
        )
    if as_json:
        print_json({"folder": str(out), **asdict(summary)})
    elif not quiet:
        say(*summary.table().split("\n"))
        tell(f"the shards are in {out}; {out / 'lineage.parquet'} tells what became of every sample")


def lineage(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of a finished curation.")],
    wanted: Annotated[str, typer.Argument(metavar="KEY", help="Key, source file or SHA-256 of a sample.")],
    as_json: PrintJsonOption = False,
) -> None:
    """Say what became of one sample of a curation: kept where, or dropped by which rule."""
    from sanakit.data.curation.lineage import trace

    rows = trace(out, wanted)
    if as_json:
        print_json({"samples": rows})
        return
    for row in rows:
        for name, value in row.items():
            if name == "captions":
                for item in value:
                    score = "" if item["score"] is None else f" ({item['scored_by'] or 'score'} {item['score']:.4g})"
                    say(f"{'caption':<16} {item['source']}: {item['text']}{score}")
            elif value is not None:
                say(f"{name:<16} {value}")


def _commit_of(model: str, revision: str | None, *, trusted: str | None) -> str | None:
    """Of a captioner of the hub, whose files are fetched and checked byte for byte; None of a folder."""
    from sanakit.checkpoints.files.hub import HubOptions, resolve_source
    from sanakit.checkpoints.files.hub_check import Snapshot
    from sanakit.common.paths import as_path

    if as_path(model).exists():
        return None
    hub = HubOptions(revision=revision, trust_remote_code=trusted).for_source(model)
    snapshot = Snapshot.around(resolve_source(model, hub=hub))
    return None if snapshot is None else snapshot.commit


def _scorer_loader(config: CurationConfig, trusted: str | None) -> ScorerLoader | None:
    """What loads the recipe's scorer, and torch with it: only where there is one."""
    if config.scorer is None:
        return None
    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.scoring.scorers import load_scorer

    return partial(load_scorer, hub=HubOptions(trust_remote_code=trusted))
