"""``sanakit eval starter``"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.eval.options import BankOption, DrawOptions, ReaderOption, check_report, show_report
from sanakit.cli.terminal.options import ModelOption
from sanakit.cli.terminal.output_place import check_folder
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.common.pixels import Picture
    from sanakit.evaluation.drawing import Draw
    from sanakit.evaluation.worlds.prompt_sets import Numbers
    from sanakit.evaluation.worlds.questions import Question
    from sanakit.evaluation.worlds.starter import Keep
    from sanakit.pipelines.text_to_image import TextToImagePipeline

_SHEETS_BYTES = 40_000_000  # of all sheets of a long run


@dataclass(frozen=True, kw_only=True)
class AskOptions:
    """What is asked, and who reads the answers."""

    bank: BankOption = "drawings"
    names: Annotated[
        Path | None, typer.Option(help="Names to ask for, one a line; the model's own words.json if not given.")
    ] = None
    reader: ReaderOption = None
    quick: Annotated[bool, typer.Option("--quick", help="A hundred pictures instead of eight hundred.")] = False
    full: Annotated[bool, typer.Option("--full", help="Every name with five seeds, and more of all else.")] = False
    num_names: Annotated[int | None, typer.Option(min=1, help="Names that are drawn with several seeds.")] = None
    seed: Annotated[int, typer.Option(min=0, help="Decides the prompts; picture i of a row has the seed SEED + i.")] = 0

    def numbers(self) -> Numbers:
        from dataclasses import replace

        from sanakit.evaluation.worlds.prompt_sets import DEFAULT, FULL, QUICK

        numbers = QUICK if self.quick else FULL if self.full else DEFAULT
        return numbers if self.num_names is None else replace(numbers, names=self.num_names)

    def command(self, model: str, draw: DrawOptions) -> str:
        """What gives the same table again."""
        words = ["sanakit", "eval", "starter", "--model", model, "--bank", self.bank, "--seed", str(self.seed)]
        given: dict[str, object] = {"--names": self.names, "--reader": self.reader, "--num-names": self.num_names}
        given |= {"--steps": draw.steps, "--guidance-scale": draw.guidance_scale, "--dtype": draw.dtype}
        given |= {"--variant": draw.variant, "--revision": draw.revision}
        given |= {"--device": None if draw.device == "auto" else draw.device}
        given |= {"--reuse": draw.reuse or None}
        words += [str(word) for pair in given.items() if pair[1] is not None for word in pair]
        words += [word for word, chosen in (("--quick", self.quick), ("--full", self.full)) if chosen]
        if draw.guidance_interval != (0.0, 1.0):
            words += ["--guidance-interval", *map(str, draw.guidance_interval)]
        return shlex.join(words)


def starter(
    draw: DrawOptions,
    ask: AskOptions,
    model: ModelOption = "starter",
    sheet: Annotated[bool, typer.Option("--sheet", help="Only draw the prompts of the README, at seed 0.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="FILE.json of the report, or a folder for it and a sheet of every row."),
    ] = None,
) -> None:
    """Score a model on the things, words, places and relations of a bank; the reader's own errors stand beside.

    Words that the model was not trained on are left out, and it is said.
    """
    if ask.quick and ask.full:
        raise RequestError("--quick and --full are two sizes; give one of them")
    if sheet:
        _draw_sheet(draw, model, output or Path("sheet.png"))
        return
    report_file, folder = _places(output)

    from sanakit.evaluation.worlds.rows import rows_table
    from sanakit.evaluation.worlds.starter import Examiner, all_questions, evaluate_starter
    from sanakit.evaluation.worlds.subject import subject_of
    from sanakit.scoring.reading.load import load_reader
    from sanakit.worlds.banks.bank_files import load_bank, read_names

    bank, names = load_bank(ask.bank), None if ask.names is None else read_names(ask.names)
    reader = load_reader(ask.reader, device=draw.start())
    pipeline = draw.load([draw.wish()], model)
    words = {**pipeline.bundle.words, **({} if names is None else {"things": [{"name": name} for name in names]})}
    subject = subject_of(bank, words, readable=reader.words.readable)
    settings = draw.facts(pipeline)
    with draw.bar("drawing and reading", unit="pictures") as on_progress:
        found = evaluate_starter(
            Examiner(draw=_drawing(draw, pipeline), reader=reader, subject=subject),
            all_questions(subject, ask.numbers(), ask.seed),
            seed=ask.seed,
            settings=settings,
            keep=None if folder is None else _keeping(folder),
            on_progress=on_progress,
        )
    command = ask.command(model, draw)
    facts = {**found.report.to_json(), "command": command}
    show_report(found.report, report_file, draw, facts=facts, table=rows_table(found.report, found.rows, command))


def _drawing(draw: DrawOptions, pipeline: TextToImagePipeline) -> Draw:
    from sanakit.evaluation.drawing import drawing_with

    return drawing_with(pipeline, **draw.chosen)


def _places(output: Path | None) -> tuple[Path | None, Path | None]:
    """The file of the report, and the folder of the sheets if there are to be any."""
    if output is None or output.suffix == ".json":
        check_report(output)
        return output, None
    check_folder(output, _SHEETS_BYTES)
    return output / "report.json", output


def _keeping(folder: Path) -> Keep:
    from sanakit.evaluation.worlds.sheets import question_sheet, save_sheet

    def keep(question: Question, pictures: Sequence[Picture], right: Sequence[bool]) -> None:
        name = "".join(mark if mark.isalnum() else "-" for mark in question.name)
        save_sheet(question_sheet(question, pictures, right), folder / f"{name}.png")

    return keep


def _draw_sheet(draw: DrawOptions, model: str, output: Path) -> None:
    path = output if output.suffix == ".png" else output / "sheet.png"
    check_folder(path.parent, _SHEETS_BYTES // 10)

    from sanakit.evaluation.worlds.sheets import readme_sheet, save_sheet

    pipeline = draw.load([draw.wish()], model)
    with draw.bar("drawing", unit="pictures") as on_progress:
        save_sheet(readme_sheet(_drawing(draw, pipeline), on_progress=on_progress), path)
    draw.tell(f"the sheet is in {path}")
