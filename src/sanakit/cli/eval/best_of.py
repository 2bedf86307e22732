"""``sanakit eval best-of``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sanakit.cli.eval.options import BankOption, DrawOptions, ReportOption, check_report, show_report
from sanakit.cli.terminal.best_of import BestOfOptions
from sanakit.cli.terminal.options import ModelOption


def best_of(
    draw: DrawOptions,
    model: ModelOption = "starter",
    num: Annotated[int, typer.Option("--best-of", metavar="N", help="Candidates of every prompt.")] = 8,
    judge: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=WEIGHT]", help="Who chooses, as of sanakit generate --best-of.")
    ] = None,
    drop_early: Annotated[
        bool, typer.Option("--drop-early", help="Measure dropping early too, and what it costs and loses.")
    ] = False,
    num_prompts: Annotated[int, typer.Option(min=1, help="Held-out prompts.")] = 60,
    bank: BankOption = "tiny",
    seed: Annotated[int, typer.Option(min=0, help="Decides the prompts; candidate j has the seed SEED + j.")] = 0,
    output: ReportOption = None,
) -> None:
    """What choosing among N pictures gains, on held-out prompts, as the recogniser that ships reads the pictures."""
    options = BestOfOptions(best_of=num, judge=judge, drop_early=drop_early)
    settings = options.settings(model)
    assert settings is not None
    check_report(output)
    hub, judges = options.found(draw, model)

    from sanakit.evaluation.benchmarks.best_of import Trial, best_of_report, heldout_prompts
    from sanakit.evaluation.worlds.subject import subject_of
    from sanakit.scoring.reading.load import load_reader
    from sanakit.worlds.banks.bank_files import load_bank

    things, reader = load_bank(bank), load_reader(device=draw.start())
    pipeline = draw.load([draw.wish()], model, hub=hub)
    words: Any = pipeline.bundle.words
    trial = Trial(
        pipeline=pipeline,
        judges=[each.load(words, device=pipeline.device) for each in judges],
        reader=reader,
        settings=settings,
        request={**draw.chosen, "seed": seed},
    )
    known = subject_of(things, words, readable=reader.words.readable)
    facts = draw.facts(pipeline)
    with draw.bar("drawing and judging", unit="prompts") as on_progress:
        prompts = heldout_prompts(known, num_prompts, seed=seed)
        report, seconds = best_of_report(trial, prompts, seed=seed, settings=facts, on_progress=on_progress)
    show_report(report, output, draw)
    draw.tell("; ".join(f"{name}: {each:.0f} s of the processor" for name, each in seconds.items()))
