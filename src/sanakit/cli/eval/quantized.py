"""``sanakit eval quantized``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.eval.options import DrawOptions, ReportOption, check_report, show_report
from sanakit.cli.prune import read_calibration_prompts
from sanakit.common.errors import RequestError


def quantized(
    draw: DrawOptions,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, file, hub id, or starter.")] = "starter",
    reference: Annotated[
        str | None, typer.Option(metavar="PLAIN", help="The plain model, if it is not MODEL without --quantize.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompts, one a line; those of the starter's sheet if not given.")
    ] = None,
    num_prompts: Annotated[int, typer.Option(min=1, help="So many of them.")] = 16,
    output: ReportOption = None,
) -> None:
    """How many dB the pictures of a model in fewer bits are from those of the plain one, in float32; or with --reuse or
    --guidance-interval from those of all network calls."""
    if reference is None and draw.quantize is None and not draw.spares:
        raise RequestError(
            "give --quantize SCHEME, a quantized MODEL and the plain one as --reference, --reuse or --guidance-interval"
        )
    check_report(output)
    texts = read_calibration_prompts(prompts)[:num_prompts]

    from sanakit.evaluation.reports.quantized import PROTOCOL, distances, draw_each
    from sanakit.evaluation.reports.report import Report
    from sanakit.models.network import state_bytes

    whole = replace(draw, quantize=None, dtype="float32", reuse=0.0, guidance_interval=(0.0, 1.0))
    requests, plain_requests = (
        [each.wish(text, seed=index) for index, text in enumerate(texts)] for each in (draw, whole)
    )
    total = 2 * len(requests)
    with draw.bar("drawing", unit="pictures") as on_progress:
        pipeline = whole.load(plain_requests, reference or model)
        plain = draw_each(pipeline, plain_requests, lambda done: on_progress(done, total, "drawing plain"))
        del pipeline
        pipeline = draw.load(requests, model)
        found = draw_each(pipeline, requests, lambda done: on_progress(len(plain) + done, total, "drawing quantized"))
    weights = {name: state_bytes(part.state_dict()) for name, part in pipeline.bundle.components.items()}
    report = Report(
        title="Pictures in fewer bits or calls",
        protocol=PROTOCOL,
        measurements=distances(plain, found),
        seed=0,
        inputs={"prompts": len(texts), "bytes of weights in memory": weights},
        settings={"model": model, "reference": reference or model, **draw.settings(pipeline)},
    )
    show_report(report, output, draw)
