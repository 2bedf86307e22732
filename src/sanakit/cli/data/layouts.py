"""``sanakit data inspect``, ``validate`` and ``build``: data sets of any layout."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import plural, print_json, say, show_table
from sanakit.cli.terminal.failures import FAILURE
from sanakit.cli.terminal.options import AlsoOption, JsonOption, TellOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sanakit.data.inspection import Inspection, Spread
    from sanakit.data.samples import Problem
    from sanakit.data.sources.data_source import DataSource

_SHOWN_PROBLEMS = 10
_BAR_WIDTH = 40

PathArgument = Annotated[Path, typer.Argument(metavar="PATH", help="Folder of the data set, or a table in it.")]


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Which samples are good."""

    min_size: Annotated[int, typer.Option(min=1, help="Pixels that the shorter side of a picture must have.")] = 1
    captions: Annotated[
        bool, typer.Option("--captions/--no-captions", help="Whether a picture without a caption is a bad sample.")
    ] = True
    also: AlsoOption = None

    @property
    def rules(self) -> dict[str, Any]:
        return {"min_size": self.min_size, "need_captions": self.captions, "also": self.also or ()}

    def open(self, path: Path) -> DataSource:
        from sanakit.data.open import open_data

        return open_data(path, **self.rules)


def inspect(path: PathArgument, good: SampleOptions, as_json: JsonOption = False) -> None:
    """Tell how a data set is laid out, what it holds and what is wrong; no picture is decoded."""
    from sanakit.data.inspection import inspect_data

    found = inspect_data(good.open(path))
    if as_json:
        print_json({**asdict(found), "num_by_reason": found.num_by_reason()})
    else:
        _print_inspection(found)


def validate(path: PathArgument, good: SampleOptions, told: TellOptions) -> None:
    """Decode every picture and list every bad sample with its reason; exit code 1 if there is one."""
    from sanakit.data.validation import validate as validate_data

    source = good.open(path)
    with told.bar("reading", unit="samples") as on_progress:
        found = validate_data(source, on_progress=on_progress)
    if told.as_json:
        facts = {"path": str(path), "layout": source.layout, "num_by_reason": found.num_by_reason()}
        print_json(facts | asdict(found))
    else:
        for line in _problem_lines(found.problems):
            say(line)
        counts = _counted(found.num_by_reason())
        for sentence in found.unused_files:
            told.tell(f"not used: {sentence}")
        told.tell(f"{plural(found.num_good, 'good sample')} in {path}; {counts or 'nothing is wrong'}")
    if found.problems:
        raise typer.Exit(FAILURE)


def build(
    path: PathArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the shards: new, empty, or to be continued.")],
    good: SampleOptions,
    told: TellOptions,
    shard_size: Annotated[int, typer.Option(min=1, help="Samples in a shard.")] = 1000,
) -> None:
    """Write a data set of any layout as WebDataset shards that SANA's training code reads too.

    Samples that cannot be used are listed in problems.jsonl. Stop it at any time: the same command continues.
    """
    from sanakit.data.build import PROBLEMS, build_shards

    kept = f"finished shards are in {out}, and the same command continues"
    with told.bar("building", unit="samples", kept=kept) as on_progress:
        report = build_shards(path, out, shard_size=shard_size, **good.rules, on_progress=on_progress)
    count = len(report.problems)
    if told.as_json:
        numbers = {"num_samples": report.num_samples, "num_shards": report.num_shards, "num_problems": count}
        print_json({"folder": str(out), **numbers, "unused_files": report.unused_files})
        return
    say(out)
    wrong = f"; {count} problem{'s are' if count > 1 else ' is'} listed in {out / PROBLEMS}" if count else ""
    for sentence in report.unused_files:
        told.tell(f"not used: {sentence}")
    told.tell(f"{plural(report.num_samples, 'sample')} in {plural(report.num_shards, 'shard')}{wrong}")


def _print_inspection(found: Inspection) -> None:
    say(f"{found.path}: {plural(found.num_samples, 'sample')} ({found.holds}, layout {found.layout})")
    if found.caption_files:
        say(f"  read from {', '.join(found.caption_files)}")
    if found.width is not None and found.height is not None and found.megapixels is not None:
        say(f"  width  {_range(found.width)} px", f"  height {_range(found.height)} px")
        say(f"  area   {_range(found.megapixels)} megapixels")
        if found.seconds is not None and found.fps is not None:
            say(f"  length {_range(found.seconds)} s", f"  rate   {_range(found.fps)} frames a second")
        _print_histogram(found.aspect_ratios)
    if found.captions:
        _print_captions(found)
    for note in found.caption_notes:
        say("", f"Captions not seen: {note}")
    if found.unused_columns:
        names = ", ".join(found.unused_columns)
        say("", f"Columns not used: {names}; one with 'caption' in its name (blip_caption) would be a caption source")
    if found.unused_files:
        say("", "Files not used")
        for sentence in found.unused_files:
            say(f"  {sentence}")
    if found.problems:
        say("", f"Wrong: {_counted(found.num_by_reason())}")
        for line in _problem_lines(found.problems[:_SHOWN_PROBLEMS]):
            say(f"  {line}")
        if len(found.problems) > _SHOWN_PROBLEMS:
            say(f"  ... and {len(found.problems) - _SHOWN_PROBLEMS} more; sanakit data validate lists them all")
        if found.num_samples == 0 and "missing_caption" in found.num_by_reason():
            say("  --no-captions takes pictures without captions, for an autoencoder or before captioning")
    else:
        say("", "Nothing wrong was found without decoding the pictures; sanakit data validate does that.")


def _print_histogram(counts: dict[str, int]) -> None:
    say("", "Aspect ratios (height / width, nearest of SANA's bins)")
    most = max(counts.values())
    for ratio, count in counts.items():
        say(f"  {ratio:>5} {'#' * max(1, round(_BAR_WIDTH * count / most)):{_BAR_WIDTH}} {count}")


def _print_captions(found: Inspection) -> None:
    names = ("captions from", "number", "words", "scores", "lowest", "median", "highest")
    rows = []
    for source in found.captions:
        cells = ["", "", ""] if source.scores is None else _numbers(source.scores)
        count = str(source.num_scores) if source.num_scores else "none"
        rows.append((source.source, str(source.num_captions), f"{source.mean_words:.1f}", count, *cells))
    say("")
    show_table(names, rows, numbers=names[1:], gap=1)


def _problem_lines(problems: Sequence[Problem]) -> list[str]:
    return [f"{problem.reason:15} {problem.key}: {problem.detail}{' (used)' * problem.used}" for problem in problems]


def _counted(num_by_reason: dict[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in num_by_reason.items())


def _range(spread: Spread) -> str:
    smallest, middle, largest = _numbers(spread)
    return smallest if smallest == largest else f"{smallest} to {largest}, median {middle}"


def _numbers(spread: Spread) -> list[str]:
    return [_short(number) for number in (spread.smallest, spread.middle, spread.largest)]


def _short(number: float) -> str:
    return f"{number:.4g}" if abs(number) < 10000 else f"{number:.0f}"
