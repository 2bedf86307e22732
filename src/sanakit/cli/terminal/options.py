"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.pipelines.record import ModelReference

ModelOption = Annotated[str, typer.Option("--model", help="Folder, file, hub id, or starter.")]
VariantOption = Annotated[str | None, typer.Option("--variant", help="fp16 or bf16 files of a diffusers folder.")]
RevisionOption = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of a hub id.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="cpu, cuda, cuda:1 or mps; auto is cuda where there is one.")
]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", help="float32, bfloat16 or float16; what the model was made for if not given.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Run in a dtype that the model is known not to work in, or changed weights.")
]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE|FOLDER", help="Where to; the current folder if not given.")
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="png, jpeg or webp; the suffix of FILE decides, else png.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def chosen_model(
    recorded: ModelReference, *, model: str | None, variant: str | None, revision: str | None
) -> ModelReference:
    """The model of a recipe, or what the options say; to another source the recorded files mean nothing."""
    changes: dict[str, Any] = {} if model is None else {"source": model, "variant": None, "revision": None}
    given = {"variant": variant, "revision": revision}
    return recorded.model_copy(update=changes | {name: value for name, value in given.items() if value is not None})


def resolve_device(name: str) -> str:
    """A device that torch can use here.

    Raises:
        RequestError: there is no such device; the sentence says which there are.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    present = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        present.append("mps")
    if name in present or (name == "cuda" and "cuda:0" in present):
        return name
    raise RequestError(
        f"--device {name} is not here; this machine and its torch {torch.__version__} have {', '.join(present)}"
    )
