"""``sanakit bench``"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import print_json, say, show_table
from sanakit.cli.terminal.options import DeviceOptions
from sanakit.cli.terminal.output_place import check_folder
from sanakit.cli.terminal.size import parse_size
from sanakit.common.errors import RequestError
from sanakit.common.files import write_json

if TYPE_CHECKING:
    from sanakit.bench.report import BenchReport
    from sanakit.bench.settings import BenchSettings

_STAGES_HELP = "Some of text, step, decode, encode, picture, sprint, starter, shell, training."
QUICK_SECONDS, QUICK_SIDE, QUICK_TEXT_LAYERS = 150.0, 256, 4


@dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """What is measured."""

    model: Annotated[str, typer.Option("--model", help="0.6B, 1.6B, tiny, or a preset such as sana1.5-4800m-1024.")] = (
        "0.6B"
    )
    size: Annotated[
        str | None, typer.Option(metavar="SIDE|WIDTHxHEIGHT", help="In pixels; 512, quick 256, if not given.")
    ] = None
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32"
    threads: Annotated[int | None, typer.Option(min=1, max=256, help="Of the CPU; torch's own if not given.")] = None
    batch: Annotated[int, typer.Option(min=1, max=64, help="Pictures at a time.")] = 1
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Of a whole picture.")] = 20
    text_layers: Annotated[
        int | None, typer.Option(min=1, help="Of the text encoder; all 26, quick 4, if not given.")
    ] = None
    quantize: Annotated[
        str | None, typer.Option(metavar="SCHEME", help="Fewer bits for ours, such as int8; diffusers keeps its own.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of weights and inputs.")] = 0
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Pairs of measurements, at most.")] = 5
    peer: Annotated[bool, typer.Option(help="Measure diffusers beside, where it is installed.")] = True

    def settings(self, device: str, budget: float | None) -> BenchSettings:
        """With diffusers only where it is there; raises RequestError for what cannot be measured."""
        from sanakit.bench.peer import peer_version
        from sanakit.bench.settings import BenchSettings
        from sanakit.checkpoints.identity.precision import DTYPES

        if self.dtype not in DTYPES:
            raise RequestError(f"--dtype {self.dtype} is not offered; write float32, bfloat16 or float16")
        side, layers = (512, None) if budget is None else (QUICK_SIDE, QUICK_TEXT_LAYERS)
        size = self.size or str(side)
        width, height = parse_size(f"{size}x{size}" if re.fullmatch(r"\s*\d+\s*", size) else size)
        assert width is not None
        assert height is not None
        return BenchSettings(
            model=self.model, height=height, width=width, dtype=self.dtype, device=device, threads=self.threads,
            batch=self.batch, steps=self.steps, text_layers=self.text_layers or layers, seed=self.seed,
            quantize=self.quantize, repeats=self.repeats, budget=budget,
            peer=self.peer and peer_version() is not None,
        )  # fmt: skip


def bench(
    shape: ShapeOptions,
    run: DeviceOptions,
    stages: Annotated[str, typer.Option(metavar="NAME,...", help=_STAGES_HELP)] = ("text,step,decode,encode"),
    quick: Annotated[bool, typer.Option("--quick", help="End within three minutes on two cores.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File of the whole report, JSON.")] = None,
) -> None:
    """How fast this machine runs networks of the published shapes, with random weights, beside diffusers.

    Both sides run on the same weights and inputs, in turn, in this process; their results are compared, and so is a
    control that must differ. Floors come from the machine's own rates of products and copies.
    """
    from sanakit.bench.settings import parse_stages

    chosen = parse_stages(stages)
    if output is not None:
        check_folder(output.parent, 1_000_000)
    settings = shape.settings(run.start(), QUICK_SECONDS if quick else None)
    report = measure_all(settings, chosen, _command(shape, run.device, stages, quick), run)
    if output is not None:
        write_json(output, report.to_json())
        run.tell(f"the report is in {output}")
    if run.as_json:
        print_json(report.to_json())
    else:
        show(report)


def measure_all(settings: BenchSettings, stages: Any, command: str, run: DeviceOptions) -> BenchReport:
    """With a bar that counts stages."""
    from sanakit.bench.floors import measured_rates
    from sanakit.bench.report import BenchReport, machine_facts
    from sanakit.bench.run import run_stages
    from sanakit.kernels.arithmetic import own_arithmetic

    found = []
    with own_arithmetic(settings.threads), run.bar("measuring", unit="stages") as told:
        facts = machine_facts(settings.device)
        rates = measured_rates(settings.torch_dtype, settings.device)
        for result in run_stages(settings, stages, rates):
            found.append(result)
            told(len(found), len(stages), result.name)
    return BenchReport(settings=settings, command=command, rates=rates, stages=found, machine=facts)


def show(report: BenchReport) -> None:
    """For a person."""
    from sanakit.bench.report import MEMORY_HEADERS, TIME_HEADERS, memory_row, time_row

    s, m = report.settings, report.machine
    bits = f" (ours {s.quantize})" if s.quantize else ""
    say(
        f"{s.model}, {s.width}x{s.height} px, {s.dtype}{bits}, batch {s.batch}, seed {s.seed}; "
        f"{m.get('processor') or m.get('GPU')}, {m['cores']} cores, {m['threads']} threads, load {m['load'] or 0:.1f}",
        ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        f"products {report.rates.flops / 1e9:.0f} GFLOP/s, copies {report.rates.bytes / 1e9:.1f} GB/s",
        "",
    )
    show_table(TIME_HEADERS, map(time_row, report.stages), numbers=TIME_HEADERS[1:], gap=2)
    say("")
    show_table(MEMORY_HEADERS, map(memory_row, report.stages), numbers=MEMORY_HEADERS[1:], gap=2)
    say(
        "",
        "Medians, interleaved; floor: arithmetic at the rate of products. Beside the weights: at the first call.",
        *(f"{stage.name}: {stage.note}" for stage in report.stages if stage.note),
        *(f"! {remark}" for remark in report.remarks()),
        report.command,
    )


def _command(shape: ShapeOptions, device: str, stages: str, quick: bool) -> str:
    """What measures the same again."""
    words = ["sanakit", "bench", "--stages", stages, "--model", shape.model, "--dtype", shape.dtype]
    words += [] if device == "auto" else ["--device", device]
    words += [] if shape.size is None else ["--size", shape.size]
    words += [] if shape.text_layers is None else ["--text-layers", str(shape.text_layers)]
    words += [] if shape.quantize is None else ["--quantize", shape.quantize]
    words += [] if shape.threads is None else ["--threads", str(shape.threads)]
    for name in ("batch", "steps", "seed", "repeats"):
        words += [f"--{name}", str(getattr(shape, name))]
    return shlex.join([*words, *(["--quick"] if quick else []), *([] if shape.peer else ["--no-peer"])])
