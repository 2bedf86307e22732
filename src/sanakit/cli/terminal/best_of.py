"""``--best-of`` and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.cli.terminal.options import PartsOptions
    from sanakit.pipelines.best_of.settings import BestOf
    from sanakit.scoring.judges.load import FoundJudge


class ModeName(StrEnum):
    """How winners are found."""

    topk = "topk"
    bracket = "bracket"


@dataclass(frozen=True, kw_only=True)
class BestOfOptions:
    """Many candidates of a prompt, of which the best stay."""

    best_of: Annotated[
        int | None, typer.Option(metavar="N", help="Make N candidates of every prompt and keep the best.")
    ] = None
    keep: Annotated[int, typer.Option(metavar="K", help="With --best-of: so many stay.")] = 1
    judge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]",
            help="Who looks: starter, reader, or folder or hub id of a CLIP, SigLIP or vision-language model.",
        ),
    ] = None
    mode: Annotated[ModeName, typer.Option(help="The best K, or the best of each of K groups of neighbours.")] = (
        ModeName.topk
    )
    drop_early: Annotated[
        bool, typer.Option("--drop-early", help="Look part-way too and drop the worse half of the candidates.")
    ] = False

    def settings(self, model: str) -> BestOf | None:
        """None where there are no candidates.

        Raises:
            RequestError: numbers that do not go together, options without --best-of, or no judge for this model.
        """
        if self.best_of is None:
            if self != BestOfOptions():
                raise RequestError("--keep, --judge, --mode and --drop-early say how --best-of N chooses; add that")
            return None
        from sanakit.checkpoints.sources.origin import STARTER, Origin
        from sanakit.pipelines.best_of.settings import DROPPING, BestOf

        if not self.judge and Origin.of(model).kind != STARTER:
            raise RequestError(f"--best-of needs a --judge for {model}; the starter alone has one of its own")
        weights = tuple(weight for _, weight in self.judges)
        dropping = DROPPING if self.drop_early else ()
        return BestOf(num=self.best_of, keep=self.keep, mode=self.mode.value, dropping=dropping, weights=weights)

    def found(self, run: PartsOptions, model: str) -> tuple[HubOptions, list[FoundJudge]]:
        """How the model is fetched, and the judges; what cannot work is said before anything is loaded.

        Raises:
            RequestError, DownloadError, CheckpointError: as ``find_judge``, or code is trusted that nothing has.
        """
        from sanakit.scoring.judges.load import find_judge

        names, encoder = [name for name, _ in self.judges], run.text_encoder or model
        hub = run.trusting(encoder, *names)
        return run.hub.for_source(encoder), [find_judge(name, hub=hub) for name in names]

    @property
    def judges(self) -> list[tuple[str, float]]:
        """Names and weights; the dual encoder that ships if none is named. Raises RequestError as ``weighted``."""
        return [weighted(word) for word in self.judge or ["starter"]]


def weighted(word: str) -> tuple[str, float]:
    """``NAME`` or ``NAME=WEIGHT``; raises RequestError where a name or a weight is missing."""
    name, equals, weight = word.rpartition("=")
    if not equals:
        name, weight = word, "1"
    try:
        number = float(weight)
    except ValueError:
        name, number = word, 1.0  # a path with such a sign in it
    if not name:
        raise RequestError(f"--judge {word} names no judge; write NAME or NAME=WEIGHT")
    return name, number
