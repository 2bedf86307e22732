"""Options that the commands of ``sanakit eval`` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.options import AlsoOption, DeviceOptions, PartsOptions, TellOptions
from sanakit.cli.terminal.output_place import check_folder
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.common.pixels import Picture
    from sanakit.evaluation.reports.report import Report, Setting
    from sanakit.pipelines.request import GenerationRequest
    from sanakit.pipelines.text_to_image import TextToImagePipeline
    from sanakit.scoring.extractors.extractor import FeatureExtractor

BankOption = Annotated[str, typer.Option(help="The bank of things: full, drawings, tiny, or a folder.")]
NamesOption = Annotated[Path | None, typer.Option(help="File of names that the bank is cut to, one a line.")]
ReaderOption = Annotated[str | None, typer.Option(help="Folder of a recogniser; the one that ships if not given.")]
ReportOption = Annotated[Path | None, typer.Option("--output", "-o", help="File of the whole report, JSON.")]


@dataclass(frozen=True, kw_only=True)
class ExtractorOptions:
    """Which network looks at pictures."""

    extractor: Annotated[
        str,
        typer.Option(
            help="efficientnet-lite0, a file of Inception-v3, or a folder or hub id of CLIP, SigLIP or DINOv2."
        ),
    ] = "efficientnet-lite0"
    resize: Annotated[
        str | None, typer.Option(help="bilinear (pytorch-fid) or bicubic (clean-fid), for Inception-v3.")
    ] = None
    halves: Annotated[int, typer.Option(min=2, help="Random halves that the interval comes from.")] = 100

    def load(self, device: str, hub: HubOptions | None = None) -> FeatureExtractor:
        from sanakit.scoring.extractors.load import load_extractor

        return load_extractor(self.extractor, resize=self.resize, device=device, hub=hub)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(DeviceOptions):
    """What every measurement of pictures takes, and where its report goes."""

    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many pictures, by name.")] = None
    seed: Annotated[int, typer.Option(min=0, help="Of the interval's random draws.")] = 0
    output: ReportOption = None
    also: AlsoOption = None

    @property
    def which(self) -> dict[str, Any]:
        """Of ``open_pictures`` what the options say."""
        return {"limit": self.limit, "also": self.also or ()}

    def check(self, *, of_distances: bool = False) -> None:
        """Find out before minutes are spent whether the report can be written, and whether the limit leaves enough
        where distances are measured."""
        check_report(self.output)
        if of_distances and self.limit is not None:
            from sanakit.evaluation.metrics.half_sampling import require_enough

            require_enough(self.limit, f"--limit {self.limit}")

    def check_sets(self, real: Path, fake: Path) -> None:
        """The same of two sets, which are not to be one."""
        self.check(of_distances=True)
        if real.exists() and fake.exists() and real.resolve() == fake.resolve():
            raise RequestError(f"{real} and {fake} are the same place, whose distance to itself is 0; give two sets")

    def show(self, report: Report) -> None:
        show_report(report, self.output, self)


@dataclass(frozen=True, kw_only=True)
class DrawOptions(PartsOptions):
    """How the pictures are drawn that are measured."""

    steps: Annotated[int | None, typer.Option(help="The model's own if not given.")] = None
    guidance_scale: Annotated[float | None, typer.Option(help="The model's own if not given.")] = None

    guidance_interval: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Noise levels from 0 to 1 with guidance.")
    ] = (0.0, 1.0)
    reuse: Annotated[float, typer.Option(help="Spare steps whose velocity changes by a smaller share; 0 is off.")] = 0.0

    @property
    def spares(self) -> bool:
        """Network calls, by options that change pictures."""
        return self.reuse > 0 or self.guidance_interval != (0.0, 1.0)

    @property
    def chosen(self) -> dict[str, Any]:
        """Fields of ``GenerationRequest``."""
        return {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "guidance_interval": self.guidance_interval,
            "reuse": self.reuse,
        }

    def wish(self, prompt: str = "a picture", **fields: Any) -> GenerationRequest:
        """What is asked for with every prompt."""
        from sanakit.pipelines.request import GenerationRequest

        return GenerationRequest(prompt=prompt, **self.chosen, **fields)

    def facts(self, pipeline: TextToImagePipeline) -> dict[str, Setting]:
        """Which model draws, and how, for a report."""
        bundle = pipeline.bundle
        return {"model": bundle.card.name, "hash": bundle.model_hash[:10], **self.settings(pipeline)}

    def settings(self, pipeline: TextToImagePipeline) -> dict[str, Setting]:
        """What draws, for a report."""
        defaults = pipeline.bundle.card.defaults
        return {
            "steps": defaults.num_inference_steps if self.steps is None else self.steps,
            "guidance": defaults.guidance_scale if self.guidance_scale is None else self.guidance_scale,
            **({"guidance between": str(self.guidance_interval), "reuse": self.reuse} if self.spares else {}),
            "solver": defaults.solver,
            "dtype": pipeline.bundle.precision,
            "device": pipeline.device.type,
            **{f"weights of the {name.replace('_', ' ')}": each for name, each in pipeline.bundle.fewer_bits.items()},
        }


def rebuilder(pipeline: TextToImagePipeline) -> Callable[[Picture], Picture]:
    """A picture as the autoencoder of a model has it: what its pictures can be at best."""
    import torch

    from sanakit.common.pixels import from_signed, to_signed

    @torch.no_grad()
    def rebuild(picture: Picture) -> Picture:
        pipeline.bundle.need("autoencoder")
        autoencoder = pipeline.bundle.autoencoder
        pixels = to_signed([picture]).to(pipeline.device, autoencoder.compute_dtype)
        return from_signed(autoencoder.decode(autoencoder.encode(pixels)).float())[0]

    return rebuild


def check_report(output: Path | None) -> None:
    """Whether a report can be written there; raises RequestError or OutputError."""
    if output is not None:
        if output.is_dir():
            raise RequestError(f"--output {output} is a folder; name a file of the report in it, such as report.json")
        check_folder(output.parent, 1_000_000)


def show_report(
    report: Report, output: Path | None, told: TellOptions, *, facts: Any = None, table: str | None = None
) -> None:
    """The table or JSON on stdout, and JSON in the file, whole or not at all; ``facts`` and ``table`` where those are
    no plain ones."""
    from sanakit.common.files import write_json
    from sanakit.evaluation.reports.report import report_table

    facts = facts or report.to_json()
    if output is not None:
        write_json(output, facts)
        told.tell(f"the whole report is in {output}")
    if told.as_json:
        print_json(facts)
    else:
        say(*(table or report_table(report)).split("\n"))
