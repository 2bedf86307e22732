"""``sanakit eval control``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.eval.options import BankOption, DrawOptions, ReportOption, check_report, show_report
from sanakit.cli.terminal.options import ModelOption

if TYPE_CHECKING:
    from sanakit.common.pixels import Picture


def control(
    draw: DrawOptions,
    model: ModelOption = "starter",
    control_model: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="The ControlNet, if not the model's own.")
    ] = None,
    control_scale: Annotated[float, typer.Option(help="How much it counts.")] = 1.0,
    bank: BankOption = "drawings",
    num: Annotated[int, typer.Option(min=1, help="Scenes that are drawn.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Decides the scenes.")] = 0,
    output: ReportOption = None,
) -> None:
    """How far pictures follow a drawing: overlap of silhouettes drawn and made, on held-out scenes; without control
    beside."""
    check_report(output)

    import numpy as np

    from sanakit.evaluation.worlds.controlled import control_report, drawn_scenes
    from sanakit.evaluation.worlds.subject import subject_of
    from sanakit.pipelines.controlling.use import ControlModel, ControlUse
    from sanakit.worlds.banks.bank_files import load_bank

    network = None if control_model is None else ControlModel.of(control_model)

    def controls(picture: Picture | None, kind: str | None) -> tuple[ControlUse, ...]:
        if picture is None:
            return ()
        return (ControlUse(image=picture, type=kind, model=network, scale=control_scale),)

    blank = np.full((64, 64, 3), 255, np.uint8)
    pipeline = draw.load([draw.wish(controls=controls(blank, None))], model)
    subject = subject_of(load_bank(bank), pipeline.bundle.words)
    cases = drawn_scenes(subject, num, seed, size=pipeline.bundle.card.defaults.base_size)

    def paint(prompt: str, seed: int, picture: Picture | None, kind: str | None) -> Picture:
        side = pipeline.bundle.card.defaults.base_size
        request = draw.wish(prompt, seed=seed, height=side, width=side, controls=controls(picture, kind))
        return np.asarray(pipeline(request).images[0].picture)

    name = "the model's own" if network is None else f"{network.name} ({network.sha256[:10]})"
    settings = {**draw.facts(pipeline), "ControlNet": name, "scale": control_scale}
    with draw.bar("drawing and comparing", unit="scenes") as on_progress:
        report = control_report(paint, cases, seed=seed, settings=settings, on_progress=on_progress)
    show_report(report, output, draw)
