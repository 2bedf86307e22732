"""``sanakit eval adapter``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from sanakit.cli.terminal.output_place import check_folder
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.common.pixels import Picture


def adapter(
    draw: DrawOptions,
    thing: Annotated[str, typer.Option(help="Name in the bank of the thing that is taught.")],
    word: Annotated[str, typer.Option(help="The word that stands for it in prompts.")] = "zorbl",
    file: Annotated[
        str | None, typer.Argument(metavar="FILE[:WEIGHT]", help="The adapter: a file or a folder of one.")
    ] = None,
    model: ModelOption = "starter",
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Only write six pictures of the thing with captions, to teach it from."),
    ] = None,
    bank: BankOption = "drawings",
    reader: ReaderOption = None,
    num: Annotated[int, typer.Option(min=3, help="Prompts with the word.")] = 40,
    num_others: Annotated[int, typer.Option(min=0, help="Prompts without it, with and without the adapter.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Decides pictures and prompts.")] = 0,
    output: ReportOption = None,
) -> None:
    """Whether an adapter taught a model one new thing, under its word in other prompts than it was taught with, and
    what became of prompts without the word."""
    if (file is None) == (pictures is None):
        raise RequestError("give the adapter that is measured, or --pictures FOLDER for what one is taught from")
    check_report(output)

    import numpy as np

    from sanakit.evaluation.worlds.subject import subject_of
    from sanakit.evaluation.worlds.taught import Lesson, taught_report
    from sanakit.pipelines.adapting.use import as_adapters
    from sanakit.scoring.reading.load import load_reader
    from sanakit.worlds.banks.bank_files import load_bank

    used = as_adapters((file,) if file else ())
    read_by = load_reader(reader, device=draw.start())
    pipeline = draw.load([draw.wish(adapters=used)], model)
    whole = load_bank(bank)
    subject = subject_of(whole, pipeline.bundle.words, readable=read_by.words.readable)
    lesson = Lesson(subject=subject, whole=whole, thing=thing, word=word, num=num, num_others=num_others, seed=seed)
    if pictures is not None:
        _write(lesson.pictures(), pictures)
        draw.tell(f"six pictures of {thing} with captions are in {pictures}")
        return

    def paint(prompt: str, seed: int, counts: bool) -> Picture:
        request = draw.wish(prompt, seed=seed, adapters=used if counts else ())
        return np.asarray(pipeline(request).images[0].picture)

    settings = {**draw.facts(pipeline), "adapter": file, "its hash": used[0].sha256[:10]}
    with draw.bar("drawing and reading", unit="pictures") as on_progress:
        report = taught_report(
            paint, read_by, lesson, rebuild=rebuilder(pipeline), settings=settings, on_progress=on_progress
        )
    show_report(report, output, draw)


def _write(pictures: list[tuple[Picture, str]], folder: Path) -> None:
    from PIL import Image

    check_folder(folder, 1_000_000)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture, caption) in enumerate(pictures, start=1):
        Image.fromarray(picture).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption + "\n", encoding="utf-8")
