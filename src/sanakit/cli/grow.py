"""``sanakit grow``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import print_json, say, tell
from sanakit.cli.terminal.options import JsonOption, ModelArgument, ReplaceOption, SourceOptions
from sanakit.common.errors import RequestError


class GrowthStrategy(StrEnum):
    """Where new blocks come from."""

    partial_preservation = "partial-preservation"
    cyclic_replication = "cyclic-replication"
    block_expansion = "block-expansion"


def grow(
    model: ModelArgument,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New model folder.")],
    num_layers: Annotated[int, typer.Option(help="Blocks of the new transformer.")],
    files: SourceOptions,
    strategy: Annotated[
        GrowthStrategy, typer.Option(help="New blocks that do nothing at first, or copies of trained ones.")
    ] = GrowthStrategy.partial_preservation,
    drop_last: Annotated[
        int | None, typer.Option(help="Trained blocks that partial-preservation leaves out; 2 if not given.")
    ] = None,
    qk_norm: Annotated[
        bool, typer.Option("--qk-norm", help="Also add the norms of queries and keys that SANA-1.5 has.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the new blocks' weights.")] = 0,
    force: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a model deeper, to be trained further; what it has learned is kept.

    Train it with a recipe that says: init: OUT
    """
    if drop_last is not None and strategy is not GrowthStrategy.partial_preservation:
        raise RequestError(f"--drop-last belongs to partial-preservation; {strategy.value} keeps every block")

    from sanakit.checkpoints.editing.convert import check_target
    from sanakit.checkpoints.editing.derived_model import read_base, write_derived
    from sanakit.checkpoints.editing.growth import DROP_LAST, GrowthConfig
    from sanakit.checkpoints.editing.growth import grow as grow_network

    check_target(target, force=force)
    parts, base = read_base(model, hub=files.hub)
    dropped = DROP_LAST if drop_last is None else drop_last
    growth = GrowthConfig(num_layers=num_layers, strategy=strategy.value, drop_last=dropped, qk_norm=qk_norm, seed=seed)
    grown = grow_network(base.tensors, base.config, growth)
    record = {"growth": {"strategy": strategy.value, "qk_norm_added": qk_norm, "seed": seed}}
    write_derived(parts, base, grown, target, record=record, force=force)
    num_new = sum(origin is None for origin in grown.origins)
    if as_json:
        print_json({"target": str(target), "origins": list(grown.origins), "num_new": num_new})
        return
    say(target)
    copies = f"{num_layers - num_new} copied, {num_new} new"
    tell(f"{base.config.num_layers} blocks became {num_layers}: {copies}; train it with a recipe's init: {target}")
