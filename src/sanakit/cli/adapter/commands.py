"""``sanakit adapter inspect``, ``convert``, ``merge``, ``extract`` and ``fuse``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import print_json, say, tell
from sanakit.cli.terminal.options import ModelArgument, ModelOption, PrintJsonOption, ReplaceOption
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.checkpoints.adapters.places import Layers

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A .safetensors file, or the folder that holds it.")]
FilesArgument = Annotated[
    list[str], typer.Argument(metavar="FILE[:WEIGHT]...", help="Adapters, each as much as its weight says.")
]
OutOption = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The new .safetensors file.")]


def inspect(file: FileArgument, model: ModelOption = "starter", as_json: PrintJsonOption = False) -> None:
    """Say who wrote an adapter, which layers of a model it changes and how much, and what it was trained on."""
    from sanakit.checkpoints.adapters.fit import open_adapter
    from sanakit.checkpoints.editing.adapters import describe_adapter

    facts = describe_adapter(open_adapter(file, _layers(model)))
    if as_json:
        print_json(facts)
        return
    ranks = ", ".join(map(str, facts["ranks"]))
    say(f"{facts['file']}: {' and '.join(facts['kinds'])} of rank {ranks}, in the names of {facts['spelling']}")
    say(f"sha256 {facts['sha256']}")
    say(f"{len(facts['layers'])} layers of {model} are changed; norm of each change:")
    for name, layer in facts["layers"].items():
        say(f"  {name:<45} rank {layer['rank']:<4} {layer['norm']:.4g}")
    if facts["unmatched"]:
        say(f"{len(facts['unmatched'])} parts are not of {model}: {', '.join(facts['unmatched'][:5])}")
    for name, text in facts["metadata"].items():
        say(f"{name}: {text:.200}")


def convert(
    file: FileArgument, output: OutOption, model: ModelOption = "starter", force: ReplaceOption = False
) -> None:
    """Write an adapter in the names of diffusers and PEFT, in which every program finds it."""
    from sanakit.checkpoints.adapters.fit import open_adapter

    layers = _layers(model)
    fitted = open_adapter(file, layers)
    _write(output, fitted.adapter, layers, facts=fitted.file.tags, force=force)
    if left := fitted.left_out:
        tell(f"{len(left)} parts are not of {model} and were left out: {fitted.file.few(left)}")


def merge(
    files: FilesArgument, output: OutOption, model: ModelOption = "starter", force: ReplaceOption = False
) -> None:
    """Make one adapter that does what several do together."""
    from sanakit.checkpoints.editing.adapters import merge as merge_adapters

    layers = _layers(model)
    _write(output, merge_adapters(_weighted(files), layers), layers, facts={}, force=force)


def extract(
    before: ModelArgument,
    after: Annotated[str, typer.Argument(metavar="CHANGED", help="The same model after training.")],
    output: OutOption,
    rank: Annotated[int, typer.Option(help="Of every layer.", min=1)] = 32,
    force: ReplaceOption = False,
) -> None:
    """Make an adapter of the difference between two models."""
    from sanakit.checkpoints.editing.adapters import extract as extract_adapter

    adapter, layers, kept = extract_adapter(before, after, rank)
    _write(output, adapter, layers, facts={"ss_sd_model_name": before}, force=force)
    least = min(kept, key=lambda name: kept[name])
    tell(
        f"of the difference it holds {kept[least]:.1%} in {least}, the least, and more in {len(kept) - 1} other layers"
    )


def fuse(
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The new model folder.")],
    adapter: Annotated[
        list[str], typer.Option("--adapter", metavar="FILE[:WEIGHT]", help="LoRA or kin; repeat it for several.")
    ],
    force: ReplaceOption = False,
) -> None:
    """Write a model folder with adapters inside its weights; the model and the adapters stay as they are."""
    from sanakit.checkpoints.editing.adapters import fuse as fuse_adapters

    fuse_adapters(model, _weighted(adapter), folder, force=force)
    say(folder)


def _layers(model: str) -> Layers:
    from sanakit.checkpoints.adapters.places import Layers
    from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
    from sanakit.checkpoints.sources.sources import find_parts

    found = find_parts(model).transformer
    if found is None:
        raise RequestError(f"{model} has no transformer that an adapter could be beside")
    return Layers.of(LINEAR_DIT, found.config)


def _weighted(files: list[str]) -> list[tuple[Path, float]]:
    from sanakit.pipelines.adapting.use import AdapterUse

    return [(use.path, use.weight) for use in map(AdapterUse.of, files)]


def _write(output: Path, adapter: Any, layers: Layers, *, facts: dict[str, str], force: bool) -> None:
    from sanakit.checkpoints.adapters.write import write_adapter

    if output.suffix != ".safetensors":
        raise RequestError(f"--output {output} must end in .safetensors, as every adapter does")
    write_adapter(output, adapter, layers, facts=facts, force=force)
    say(output)
