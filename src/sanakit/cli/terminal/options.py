"""Options that several commands share.

Each is an annotated type; those that travel together are a frozen group, which a command takes as one parameter and
hands on as one thing. ``add_commands`` makes an option of every field of a group.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from sanakit.cli.terminal.console import plural, print_json, readable_seconds, say, tell
from sanakit.cli.terminal.failures import Interrupted, sentence
from sanakit.cli.terminal.output_place import check_folder
from sanakit.cli.terminal.prompts import PromptCommand
from sanakit.common.devices import resolve_device
from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.common.progress import OnProgress
from sanakit.pipelines.clips.place import ClipPlace, choose_clip_place
from sanakit.pipelines.picture_place import OutputPlace, choose_place

if TYPE_CHECKING:
    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.checkpoints.opening import OtherParts
    from sanakit.checkpoints.refiner import OpenedRefiner
    from sanakit.pipelines.record import ModelReference
    from sanakit.pipelines.request import GenerationRequest
    from sanakit.pipelines.text_to_image import TextToImagePipeline

_OF_CLIPS = ("mp4", "webm", "gif")
_ASSUMED_SIDE = 1024  # for the check of the disk, where the model decides the size

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Folder, file, hub id, starter, starter-sprint or starter-video.")
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Folder, file, hub id, starter, starter-sprint or starter-video.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="cpu, cuda, cuda:1 or mps; auto is cuda where there is one.")
]
ReplaceOption = Annotated[bool, typer.Option(help="Replace what is at OUT.")]
AlsoOption = Annotated[
    list[str] | None,
    typer.Option("--also", metavar="FOLDER", help="That rows and links may lead to, beside the data; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
PrintJsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, kw_only=True)
class TellOptions:
    """How a command answers."""

    as_json: JsonOption = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False

    def tell(self, text: str) -> None:
        """A remark for a person, on stderr."""
        tell(text, quiet=self.quiet)

    def name_file(self, path: str | Path) -> None:
        """The name of a file, on stdout as soon as it is written: also where an error comes after it."""
        if not (self.as_json or self.quiet):
            say(path)

    def tell_result(
        self, num_pictures: int, facts: dict[str, Any], *, start: float, loaded: float, noun: str = "picture"
    ) -> None:
        """How long pictures took, and what was loaded before, since two moments of ``time.perf_counter``; with
        ``--json`` beside other facts."""
        loading, drawing = loaded - start, time.perf_counter() - loaded
        words = f"{plural(num_pictures, noun)} in {readable_seconds(drawing)}"
        self.tell(f"{words}, after {readable_seconds(loading)} of loading")
        if self.as_json:
            print_json({**facts, "seconds": {"loading": round(loading, 3), "pictures": round(drawing, 3)}})

    @contextmanager
    def telling_what_is_done(self, facts: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """With ``--json`` the pictures that were written before an error or a Ctrl-C are told too, with the error."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if self.as_json and (found := facts())["pictures"]:
                print_json({**found, "error": sentence(error)})
            raise

    @contextmanager
    def bar(self, text: str, *, unit: str, kept: str = "") -> Iterator[OnProgress]:
        """A bar as long as this lasts; gives the function that is told how far it is.

        Args:
            kept: what a Ctrl-C leaves behind, where something is left; it then comes out as ``Interrupted``.
        """
        from sanakit.cli.terminal.progress import ProgressBar

        try:
            with ProgressBar(text, unit=unit, quiet=self.quiet) as bar:
                yield bar.update
        except KeyboardInterrupt:
            if not kept:
                raise
            raise Interrupted(f"interrupted; {kept}") from None


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Which files of a source."""

    variant: Annotated[str | None, typer.Option(help="fp16 or bf16 files of a diffusers folder.")] = None
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None

    @property
    def hub(self) -> HubOptions:
        from sanakit.checkpoints.files.hub import HubOptions

        return HubOptions(variant=self.variant, revision=self.revision)

    def named(self, recorded: ModelReference, model: str | None, path: Path) -> tuple[str | Path, dict[str, Any]]:
        """Source and options of `load_bundle` for what the record in ``path`` describes: what the user named, else what
        ships; of the record only dtypes, schemes of fewer bits and commits of borrowed parts are taken.

        Raises:
            PictureError: another model made it, and the user named none.
        """
        from sanakit.checkpoints.sources.origin import shipped_folder

        if model is None:
            recorded.refuse_unnamed(path)
        source = model or shipped_folder(recorded.source)
        hub = replace(self.hub, commits=recorded.borrowed_commits(source))
        return source, {"dtype": dict(recorded.dtypes), "quantize": dict(recorded.quantized) or None, "hub": hub}


@dataclass(frozen=True, kw_only=True)
class OriginOptions:
    """What a picture was made from."""

    image: Annotated[Path | None, typer.Option(help="The picture that it was made from, if that is not beside it.")] = (
        None
    )
    mask: Annotated[Path | None, typer.Option(help="The mask that it was edited with, if that is not beside it.")] = (
        None
    )
    clip: Annotated[Path | None, typer.Option(help="The clip that it was made from, if that is not beside it.")] = None


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where pictures go."""

    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|FOLDER", help="Where to; the current folder if not given."),
    ] = None
    image_format: Annotated[
        str | None,
        typer.Option("--format", help="png, jpeg, webp; of clips mp4, webm, gif, webp, png; FILE's suffix decides."),
    ] = None

    @property
    def are_of_clips(self) -> bool:
        """Whether the format, or FILE's suffix, is one that only clips have."""
        return (self.image_format or Path(self.output or "").suffix.lower().removeprefix(".")) in _OF_CLIPS

    def choose(self, request: GenerationRequest, *, num_images: int) -> OutputPlace | ClipPlace:
        """The place that the two options mean, with room for so many pictures of that size; raises as
        ``choose_place`` and ``check_folder`` do."""
        if getattr(request, "num_frames", None) is not None:
            return self.of_clips(num_clips=num_images)
        width, height = request.width or _ASSUMED_SIDE, request.height or _ASSUMED_SIDE
        return self.with_room(num_images * 4 * width * height * request.upscale**2, num_images=num_images)

    def of_clips(self, *, num_clips: int) -> ClipPlace:
        """The same for clips."""
        place = choose_clip_place(self.output, self.image_format, num_clips=num_clips)
        check_folder(place.folder, 0)
        return place

    def with_room(self, num_bytes: int, *, num_images: int) -> OutputPlace:
        """The same for pictures that take so many bytes together."""
        place = choose_place(self.output, self.image_format, num_images=num_images)
        check_folder(place.folder, num_bytes)
        return place


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(TellOptions):
    """Where networks run."""

    device: DeviceOption = "auto"

    def start(self) -> str:
        """Let the library's warnings through, and give the device; raises as ``resolve_device`` does."""
        from sanakit.cli.terminal.picture_run import show_log

        show_log(quiet=self.quiet)
        return resolve_device(self.device)


@dataclass(frozen=True, kw_only=True)
class RunOptions(SourceOptions, DeviceOptions):
    """How a model is loaded and run."""

    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; what the model was made for if not given.")
    ] = None

    def load(
        self,
        requests: Sequence[GenerationRequest],
        model: str,
        place: OutputPlace | ClipPlace | None = None,
        *,
        deterministic: bool = False,
        compile: bool = False,
        memory: int | None = None,
        refiner: OpenedRefiner | None = None,
        **options: Any,
    ) -> TextToImagePipeline:
        """The pipeline, where and as the options say, once it is known that it can make such pictures and that there is
        room for them; ``options`` as of ``open_model``, before the own ones.

        Raises:
            RequestError: the model cannot do what a request asks for.
            OutputError: there is no room.
        """
        device = self.start()
        if compile:
            from sanakit.models.transformers.compiled_step import check_compiler

            check_compiler(device)
        from sanakit.checkpoints.opening import open_model
        from sanakit.pipelines.check import load_for

        chosen: dict[str, Any] = {"device": device, "dtype": self.dtype, "hub": self.hub}
        chosen |= {**self.parts, **options}
        how: dict[str, Any] = {"deterministic": deterministic, "compile": compile, "memory": memory}
        if place is not None:
            how["check_room"] = partial(check_folder, place.folder)
        return load_for(requests, replace(open_model(model, **chosen), refiner=refiner), **how)

    @property
    def parts(self) -> dict[str, str | None]:
        """Sources of parts that take the place of a model's own, and what else of it is as the user wants it."""
        return {}


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """Whose code may be run."""

    trust_remote_code: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="The source of a network once more: its own code may be run.")
    ] = None

    def trusting(self, *sources: str | None) -> HubOptions:
        """How networks of these sources come; raises RequestError where the one to be trusted is none of them."""
        from sanakit.checkpoints.files.hub import HubOptions

        hub = HubOptions(trust_remote_code=self.trust_remote_code)
        hub.check_trust(*sources)
        return hub


@dataclass(frozen=True, kw_only=True)
class BorrowedOptions:
    """Parts of others in the place of a model's own."""

    text_encoder: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Folder or hub id of another text encoder than the model's.")
    ] = None
    autoencoder: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Folder, file or hub id of another autoencoder.")
    ] = None

    @property
    def borrowed(self) -> OtherParts:
        return {"text_encoder": self.text_encoder, "autoencoder": self.autoencoder}


@dataclass(frozen=True, kw_only=True)
class PartsOptions(BorrowedOptions, TrustOptions, RunOptions):
    """How a model that makes pictures is loaded."""

    quantize: Annotated[
        str | None,
        typer.Option(metavar="SCHEME", help="Weights in fewer bits: int8, int8-weight, fp8, int4-weight, nf4, bf16."),
    ] = None

    @property
    def hub(self) -> HubOptions:
        return replace(super().hub, trust_remote_code=self.trust_remote_code)

    @property
    def parts(self) -> dict[str, str | None]:
        return {"text_encoder": self.text_encoder, "autoencoder": self.autoencoder, "quantize": self.quantize}


@dataclass(frozen=True, kw_only=True)
class RefineOptions:
    """What goes over clips."""

    refine: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Of clips: go over them with LTX-2, a folder or hub id.")
    ] = None

    def opened(self, *, clips: bool) -> OpenedRefiner | None:
        """Looked at before anything is loaded; raises as ``open_refiner`` does, and RequestError beside pictures."""
        if self.refine is None:
            return None
        if not clips:
            raise RequestError(
                "--refine goes over clips, and here is none to go over; leave it out, or make one with --frames"
            )
        from sanakit.checkpoints.refiner import open_refiner

        return open_refiner(self.refine)


def add_commands(app: typer.Typer, *commands: Callable[..., None]) -> None:
    """Make commands of functions, each under its own name."""
    for command in commands:
        app.command(cls=PromptCommand)(gathered(command))


def gathered(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for every field of its groups, which are put together as it is entered; every path
    is as its user meant it, with ``~`` for a home folder."""
    signature = inspect.signature(command, eval_str=True)
    annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    groups: dict[str, Any] = {name: each for name, each in annotations.items() if is_dataclass(each)}

    @wraps(command)
    def enter(**words: Any) -> None:
        words = {name: _meant(value) for name, value in words.items()}
        made = {
            name: group(**{field.name: words.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**made, **words)

    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        parameters += _options_of(groups[name]) if name in groups else [parameter]
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    enter.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return enter


def _meant(value: Any) -> Any:
    if isinstance(value, list):
        return [_meant(each) for each in value]
    return as_path(value) if isinstance(value, Path) else value


def _options_of(group: Any) -> Iterator[inspect.Parameter]:
    types = get_type_hints(group, include_extras=True)
    for field in fields(group):
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
        )
