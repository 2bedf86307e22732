"""``sanakit quantize``"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.prune import read_calibration_prompts
from sanakit.cli.terminal.console import plural, print_json, say
from sanakit.cli.terminal.options import ReplaceOption, RunOptions
from sanakit.common.byte_counts import readable_bytes
from sanakit.common.files import check_free

if TYPE_CHECKING:
    from sanakit.quantization.calibration import LayerInputs
    from sanakit.quantization.quantize import Quantization

MAX_PROMPTS = 16  # to calibrate on


def quantize(
    source: Annotated[str, typer.Argument(metavar="IN", help="Folder, file, hub id, or starter.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New folder.")],
    run: RunOptions,
    scheme: Annotated[
        str,
        typer.Option(
            metavar="SCHEME",
            help="int8, int8-weight, int4-weight, nf4, svdquant or bf16; or by component, as in "
            "transformer=int8,text_encoder=plain.",
        ),
    ],
    prompts: Annotated[
        Path | None, typer.Option(help="For svdquant: prompts to calibrate on, one a line; the starter's sheet if not.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="For svdquant: steps of a picture; the model's own if not.")] = None,
    force: ReplaceOption = False,
) -> None:
    """Write a model in fewer bits: smaller on disk and in memory, with errors that `sanakit eval` measures."""
    if not force:
        check_free(target)

    from sanakit.checkpoints.editing.quantizing import quantize_model
    from sanakit.checkpoints.identity.schemes import parse_schemes
    from sanakit.quantization.schemes import SVDQuant

    schemes = parse_schemes(scheme)
    seen = None
    if isinstance(schemes.get("transformer"), SVDQuant):
        seen = see_layers(run, source, read_calibration_prompts(prompts)[:MAX_PROMPTS], steps=steps)
    made = quantize_model(source, target, schemes, seen=seen, hub=run.hub, force=force)
    num_bytes = sum(file.stat().st_size for file in target.rglob("*.safetensors"))
    parts = {name: _facts(each) for name, each in made.quantizations.items()}
    if run.as_json:
        print_json({"target": str(target), "schemes": dict(made.card.quantization), "bytes": num_bytes, "parts": parts})
        return
    say(target)
    for name, each in made.quantizations.items():
        run.tell(f"{name}: {plural(len(each.layers), 'layer')} in {each.name}")
        for reason, count in Counter(each.kept.values()).items():
            example = next(layer for layer, why in each.kept.items() if why == reason)
            run.tell(f"  {plural(count, 'layer')} stay as they are, such as {example}: {reason}")
    if wanted := made.card.quantization.get("text_encoder"):
        run.tell(f"text encoder: its files stay as they are, and it is made {wanted} as the model is loaded")
    run.tell(f"{readable_bytes(num_bytes)} of weights")


def see_layers(run: RunOptions, model: str, texts: Sequence[str], *, steps: int | None) -> dict[str, LayerInputs]:
    """What the layers of the plain model are given while pictures of these prompts are made."""
    from sanakit.cli.terminal.picture_run import PictureRun
    from sanakit.pipelines.measuring.calibration import calibrate
    from sanakit.pipelines.request import GenerationRequest

    requests = [
        GenerationRequest(prompt=text, seed=index, num_inference_steps=steps) for index, text in enumerate(texts)
    ]
    watch = PictureRun(num_images=len(requests), quiet=run.quiet)
    with watch.bar() as on_event:
        return calibrate(run.load(requests, model), requests, on_event=on_event)


def _facts(quantization: Quantization) -> dict[str, Any]:
    layers = {name: scheme.name for name, scheme in quantization.layers.items()}
    return {"layers": layers, "kept": dict(quantization.kept)}
