"""``sanakit info``"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import print_json, say, show_table
from sanakit.cli.terminal.options import ModelArgument, PrintJsonOption, SourceOptions
from sanakit.common.byte_counts import readable_bytes
from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path

if TYPE_CHECKING:
    from sanakit.checkpoints.editing.describe import ModelDescription
    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.checkpoints.sources.content_hashes import HashCheck


def info(
    files: SourceOptions,
    model: ModelArgument = "starter",
    cache_dir: Annotated[Path | None, typer.Option(help="Where hub ids are kept.")] = None,
    local_files_only: Annotated[bool, typer.Option(help="Fetch nothing.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read all weights and compare their hashes with the model's card, else the hub's."
        ),
    ] = False,
    as_json: PrintJsonOption = False,
) -> None:
    """Tell what a model is and how it is meant to be used; its weights are not loaded.

    With --verify, tell instead whether its weights are those that its card was written for, or, of a hub id without a
    card, whether its files are those of the hub; exit code 1 if not.
    """
    if verify and files.variant is not None and as_path(model).exists():
        raise RequestError("--verify compares with the model's card, which has no hashes of variants; leave one out")
    from sanakit.checkpoints.editing.describe import describe
    from sanakit.cli.terminal.picture_run import show_log

    show_log(quiet=False)

    hub = replace(files.hub, cache_dir=cache_dir, local_files_only=local_files_only)
    if verify:
        verify_model(model, hub, as_json=as_json)
        return
    facts = as_mapping(describe(model, hub=hub))
    if as_json:
        print_json(facts)
    else:
        show(facts)


def verify_model(model: str, hub: HubOptions, *, as_json: bool) -> None:
    """One line per component, as soon as it is read."""
    from sanakit.checkpoints.sources.content_hashes import verify_hashes

    checks: list[HashCheck] = []
    for check in verify_hashes(model, hub=hub):
        checks.append(check)
        if not as_json:
            say(f"{check.name.replace('_', ' '):<12} {verdict(check)}")
    if as_json:
        print_json([{name: value or None for name, value in asdict(check).items()} for check in checks])
    if any(check.differs for check in checks):
        raise typer.Exit(1)


def verdict(check: HashCheck) -> str:
    if check.fault:
        return check.fault
    if not check.found:
        return "not in this source"
    if not check.expected:
        return f"{check.found[:12]}, and the {check.against} has no hash to compare with"
    if check.differs:
        reason = {"card": "after the card was written", "hub": "in the cache; the next picture fetches it again"}
        return f"{check.found[:12]} and not {check.expected[:12]}: changed or damaged {reason[check.against]}"
    return f"{check.found[:12]}, as the {check.against} says"


def as_mapping(description: ModelDescription) -> dict[str, Any]:
    """Everything that is printed, in plain values."""
    from sanakit.checkpoints.identity.card import card_to_json

    facts: dict[str, Any] = {"source": description.source, "path": str(description.path)}
    if (card := description.card) is not None:
        facts |= card_to_json(card) | {"text_encoder": card.text_encoder, "distilled": card.distilled}
        facts["max_text_tokens"] = facts.pop("text")["max_tokens"]
        facts |= {"licence": card.licence or None, "model_hash": card.model_hash or None}
        if description.words:
            facts["vocabulary"] = vocabulary_of(description.words)
    facts["components"] = [asdict(component) for component in description.components]
    facts["missing"] = list(description.missing)
    return facts


def vocabulary_of(words: Mapping[str, Any]) -> dict[str, list[str]]:
    """All that a model's table says it was trained on; a name is followed by its synonyms and its emoji."""
    objects = []
    for thing in words["things"]:
        others = [*(singular for singular, _ in thing.get("synonyms", ())), *thing.get("emoji", ())]
        objects.append(f"{thing['name']} ({', '.join(others)})" if others else thing["name"])
    lists = {name: list(words.get(name, ())) for name in ("colours", "numbers", "positions")}
    wordings = {
        name: [f"{key} ({', '.join(texts)})" for key, texts in words.get(name, {}).items()]
        for name in ("sizes", "views", "styles", "places", "people", "motions", "speeds")
    }
    languages = sorted({code for thing in words["things"] for code in thing.get("names", ())})
    backgrounds = list(words.get("grounds", ()))
    found = {"objects": objects, **lists, **wordings, "backgrounds": backgrounds, "languages": languages}
    return {name: values for name, values in found.items() if values}


def show(facts: dict[str, Any]) -> None:
    """The same for a person, without the configs."""
    for label, value in readable_facts(facts).items():
        say(f"{label:<12} {value}")
    rows = [
        (
            part["name"].replace("_", " "),
            part["kind"],
            readable_count(part["num_parameters"]),
            readable_bytes(part["num_bytes"]),
            part["quantization"] or ", ".join(part["dtypes"]),
            part["layout"],
        )
        for part in facts["components"]
    ]
    say("")
    show_table(("part", "kind", "parameters", "on disk", "dtype", "layout"), rows)
    if facts["missing"]:
        names = ", ".join(name.replace("_", " ") for name in facts["missing"])
        say("", f"Not in this source, and taken from elsewhere when it is used: {names}")
    for label, words in facts.get("vocabulary", {}).items():
        say("", f"{label}: {', '.join(words)}")


def readable_facts(facts: dict[str, Any]) -> dict[str, str]:
    lines = {"source": f"{facts['source']} ({facts['path']})"}
    if "family" in facts:
        from sanakit.sampling.scm import SCM

        side, dtypes = facts["base_size"], " or ".join(facts["precision"]["transformer"])
        reason = facts["precision"]["reason"]
        lines |= {
            "model": f"{facts['name']} of the family {facts['family']}, trained at {side}x{side} px{_length(facts)}",
            "use with": f"{facts['num_inference_steps']} steps of {facts['solver']}, guidance scale "
            f"{facts['guidance_scale']:g}"
            + ("" if facts["solver"] == SCM.name else f", flow shift {facts['flow_shift']:g}"),
            "text": f"the first {facts['max_text_tokens'] - 1} tokens of a prompt count",
            "precision": f"the transformer runs in {dtypes}" + (f": {reason}" if reason else ""),
            "licence": facts["licence"] or "not stated in its files",
            "hash": f"{facts['model_hash']}, as its card says; --verify reads every byte"
            if facts["model_hash"]
            else "not computed yet (a picture's record holds it)",
        }
    return lines


def _length(facts: dict[str, Any]) -> str:
    """Of a model of clips."""
    return f", {facts['num_frames']} frames at {facts['fps']} a second" if "num_frames" in facts else ""


def readable_count(number: int) -> str:
    """``1.60 B`` or ``9.0 M`` parameters."""
    if number >= 1e9:
        return f"{number / 1e9:.2f} B"
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"
