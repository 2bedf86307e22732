"""``sanakit quantize``"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.prune import read_calibration_prompts
from sanakit.cli.terminal.console import plural, print_json, say
from sanakit.cli.terminal.options import ReplaceOption, RunOptions
from sanakit.common.byte_counts import parse_bytes, readable_bytes
from sanakit.common.errors import RequestError
from sanakit.common.files import check_free

if TYPE_CHECKING:
    from sanakit.pipelines.request import GenerationRequest
    from sanakit.quantization.calibration import LayerInputs
    from sanakit.quantization.quantize import Quantization
    from sanakit.quantization.schemes import Scheme

MAX_PROMPTS = 16  # to calibrate on
MIXED_PROMPTS = 4  # whose pictures are drawn for every mixture that is tried


def quantize(
    source: Annotated[str, typer.Argument(metavar="IN", help="Folder, file, hub id, or starter.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New folder.")],
    run: RunOptions,
    scheme: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEME",
            help="int8, int8-weight, fp8, int4-weight, nf4, svdquant, nvfp4 or bf16; or by component, as in "
            "transformer=int8,text_encoder=plain.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE|DB", help="Instead: 4, 8 or 16 bits layer by layer, in a transformer of 6MB or within 30dB."
        ),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="For svdquant and budgets: prompts, one a line; the starter's sheet if not.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="For these: steps of a picture; the model's own if not.")] = None,
    force: ReplaceOption = False,
) -> None:
    """Write a model in fewer bits: smaller on disk and in memory, with errors that `sanakit eval` measures."""
    if (scheme is None) == (budget is None):
        raise RequestError("give --scheme or --budget, and not both")
    limit = None if budget is None else parse_budget(budget)
    if not force:
        check_free(target)
    run.start()

    from sanakit.checkpoints.editing.quantizing import quantize_model
    from sanakit.checkpoints.identity.schemes import parse_schemes
    from sanakit.quantization.schemes import SVDQuant

    schemes: dict[str, Scheme | Quantization] = dict(parse_schemes("int8-weight" if scheme is None else scheme))
    if not schemes:
        raise RequestError(f"--scheme {scheme} leaves everything as it is; name a scheme for a component")
    seen = None
    if limit is not None:
        schemes["transformer"] = mix(run, source, read_calibration_prompts(prompts), limit, steps=steps)
    elif isinstance(schemes.get("transformer"), SVDQuant):
        seen = see_layers(run, source, read_calibration_prompts(prompts), steps=steps)
    else:
        refuse_idle(run, prompts, steps)
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
    wanted = made.card.quantization.get("text_encoder")
    if wanted and "text_encoder" not in made.quantizations:
        run.tell(f"text encoder: its files stay as they are, and it is made {wanted} as the model is loaded")
    run.tell(f"{readable_bytes(num_bytes)} of weights")


def refuse_idle(run: RunOptions, prompts: Path | None, steps: int | None) -> None:
    """Raises RequestError for options of pictures, where none are made."""
    given = {"--prompts": prompts, "--steps": steps, "--dtype": run.dtype}
    given["--device"] = None if run.device == "auto" else run.device
    if idle := next((name for name, value in given.items() if value is not None), None):
        raise RequestError(f"{idle} does nothing here: only svdquant and --budget make pictures; leave it out")


def see_layers(run: RunOptions, model: str, texts: Sequence[str], *, steps: int | None) -> dict[str, LayerInputs]:
    """What the layers of the plain model are given while pictures of these prompts are made."""
    from sanakit.cli.terminal.picture_run import PictureRun
    from sanakit.pipelines.measuring.calibration import calibrate

    requests = wishes(texts[:MAX_PROMPTS], steps)
    watch = PictureRun(num_images=len(requests), quiet=run.quiet)
    with watch.bar() as on_event:
        return calibrate(run.load(requests, model), requests, on_event=on_event)


def parse_budget(text: str) -> tuple[float, str]:
    """A number and its unit, bytes or dB; raises RequestError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*dB\s*", text, flags=re.IGNORECASE)
    try:
        if found is None:
            return parse_bytes(text), "bytes"
        if float(found[1]) > 0:
            return float(found[1]), "dB"
    except RequestError:
        pass
    raise RequestError(f"--budget {text!r} is no size such as 6MB or 1.2GB, and no error such as 30dB")


def mix(
    run: RunOptions, model: str, texts: Sequence[str], limit: tuple[float, str], *, steps: int | None
) -> Quantization:
    """The scheme of every layer that keeps to the budget, measured on the plain model."""
    from sanakit.evaluation.reports.mixed_precision import find_mixture, narrowest_within

    requests = wishes(texts[:MIXED_PROMPTS], steps)
    pipeline = run.load(requests, model)
    mixture = find_mixture(pipeline, requests[0])
    most, unit = limit
    if unit == "bytes":
        return mixture.within(int(most))
    return narrowest_within(pipeline, mixture, requests, most, run.tell)


def wishes(texts: Sequence[str], steps: int | None) -> list[GenerationRequest]:
    from sanakit.pipelines.request import GenerationRequest

    return [GenerationRequest(prompt=text, seed=index, num_inference_steps=steps) for index, text in enumerate(texts)]


def _facts(quantization: Quantization) -> dict[str, Any]:
    layers = {name: scheme.name for name, scheme in quantization.layers.items()}
    return {"layers": layers, "kept": dict(quantization.kept)}
