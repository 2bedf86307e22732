"""``sanakit eval inpainting``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.eval.options import (
    BankOption,
    DrawOptions,
    ReaderOption,
    ReportOption,
    check_report,
    rebuilder,
    show_report,
)
from sanakit.cli.terminal.options import ModelOption

if TYPE_CHECKING:
    from sanakit.common.pixels import Picture


def inpainting(
    draw: DrawOptions,
    model: ModelOption = "starter",
    bank: BankOption = "drawings",
    reader: ReaderOption = None,
    num: Annotated[int, typer.Option(min=1, help="Pictures that a thing is painted into.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Decides the pictures; picture i has the seed SEED + i.")] = 0,
    output: ReportOption = None,
) -> None:
    """Whether a model paints what it is asked for under a mask, on held-out scenes; the reader's own errors stand
    beside."""
    check_report(output)

    import numpy as np

    from sanakit.evaluation.worlds.inpainting import holes, inpainting_report
    from sanakit.evaluation.worlds.subject import subject_of
    from sanakit.pipelines.editing.edit import Edit
    from sanakit.scoring.reading.load import load_reader
    from sanakit.worlds.banks.bank_files import load_bank

    read_by = load_reader(reader, device=draw.start())
    pipeline = draw.load([draw.wish()], model)
    subject = subject_of(load_bank(bank), pipeline.bundle.words, readable=read_by.words.readable)
    cases = holes(subject, num, seed)

    def inpaint(prompt: str, seed: int, picture: Picture | None, mask: Any) -> Picture:
        edit = None if mask is None else Edit(mask=mask)
        request = draw.wish(prompt, seed=seed, image=picture, edit=edit)
        return np.asarray(pipeline(request).images[0].picture)

    settings = draw.facts(pipeline)
    with draw.bar("painting and reading", unit="pictures") as on_progress:
        report = inpainting_report(
            inpaint, read_by, cases, rebuild=rebuilder(pipeline), seed=seed, settings=settings, on_progress=on_progress
        )
    show_report(report, output, draw)
