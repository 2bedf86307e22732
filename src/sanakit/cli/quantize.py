"""``sanakit quantize``"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import plural, print_json, say
from sanakit.cli.terminal.options import ReplaceOption, SourceOptions, TellOptions
from sanakit.common.byte_counts import readable_bytes
from sanakit.common.files import check_free

if TYPE_CHECKING:
    from sanakit.quantization.quantize import Quantization


def quantize(
    source: Annotated[str, typer.Argument(metavar="IN", help="Folder, file, hub id, or starter.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New folder.")],
    files: SourceOptions,
    told: TellOptions,
    scheme: Annotated[
        str,
        typer.Option(
            metavar="SCHEME", help="int8, int8-weight or bf16; or by component: transformer=int8,text_encoder=plain."
        ),
    ],
    force: ReplaceOption = False,
) -> None:
    """Write a model in fewer bits: smaller on disk and in memory, with errors that `sanakit eval` measures."""
    if not force:
        check_free(target)

    from sanakit.checkpoints.editing.quantizing import quantize_model
    from sanakit.checkpoints.identity.schemes import parse_schemes

    made = quantize_model(source, target, parse_schemes(scheme), hub=files.hub, force=force)
    num_bytes = sum(file.stat().st_size for file in target.rglob("*.safetensors"))
    parts = {name: _facts(each) for name, each in made.quantizations.items()}
    if told.as_json:
        print_json({"target": str(target), "schemes": dict(made.card.quantization), "bytes": num_bytes, "parts": parts})
        return
    say(target)
    for name, each in made.quantizations.items():
        told.tell(f"{name}: {plural(len(each.layers), 'layer')} in {each.name}")
        for reason, count in Counter(each.kept.values()).items():
            example = next(layer for layer, why in each.kept.items() if why == reason)
            told.tell(f"  {plural(count, 'layer')} stay as they are, such as {example}: {reason}")
    if wanted := made.card.quantization.get("text_encoder"):
        told.tell(f"text encoder: its files stay as they are, and it is made {wanted} as the model is loaded")
    told.tell(f"{readable_bytes(num_bytes)} of weights")


def _facts(quantization: Quantization) -> dict[str, Any]:
    layers = {name: scheme.name for name, scheme in quantization.layers.items()}
    return {"layers": layers, "kept": dict(quantization.kept)}
