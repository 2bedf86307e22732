"""``sanakit generate``"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.checkpoints.sources.origin import makes_clips
from sanakit.cli.terminal.best_of import BestOfOptions
from sanakit.cli.terminal.collection import pause_collection
from sanakit.cli.terminal.control_options import ControlOptions
from sanakit.cli.terminal.edit_options import EditOptions
from sanakit.cli.terminal.options import ModelOption, PartsOptions, PlaceOptions, RefineOptions
from sanakit.cli.terminal.output_place import check_metadata
from sanakit.cli.terminal.previews import check_preview, previewing
from sanakit.cli.terminal.prompts import PROMPTS, collect_prompts
from sanakit.cli.terminal.size import parse_size
from sanakit.common.byte_counts import parse_bytes, readable_bytes
from sanakit.common.errors import RequestError
from sanakit.common.free_memory import process_memory
from sanakit.pipelines.clips.place import ClipPlace
from sanakit.pipelines.picture_place import OutputPlace
from sanakit.sampling.solvers import SOLVERS

if TYPE_CHECKING:
    from sanakit.pipelines.request import GenerationRequest


SolverName = StrEnum("SolverName", {name.replace("-", "_"): name for name in SOLVERS})  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class WishOptions:
    """What pictures of a prompt should be like; fields of ``GenerationRequest``, but for the size."""

    negative_prompt: Annotated[str, typer.Option(help="What to keep away from.")] = ""
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Width x height in pixels; the model's own if not given.")
    ] = None
    num_inference_steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of the solver; the model's own if not given.")
    ] = None
    angles: Annotated[
        str | None,
        typer.Option(metavar="ANGLE,...", help="Steps of the solver scm by angle, from 1.5708 (all noise) down."),
    ] = None
    image: Annotated[
        Path | None, typer.Option(help="A picture to begin with, in whose shape it is made if there is no --size.")
    ] = None
    strength: Annotated[
        float | None,
        typer.Option(help="Share of the steps that change --image or --clip, from 0 to 1; 0.6 if not given."),
    ] = None
    start_angle: Annotated[
        float | None,
        typer.Option(help="The same for the solver scm as an angle: 0.6 changes little, 1.3 much; 1.3 if not given."),
    ] = None
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:WEIGHT]", help="LoRA or kin, a .safetensors file; repeat it for several."),
    ] = None
    guidance_scale: Annotated[float | None, typer.Option(help="How closely to follow the prompt; 1 is off.")] = None
    guidance_interval: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Noise levels from 0 to 1 with guidance; outside, steps cost half."),
    ] = (0.0, 1.0)
    reuse: Annotated[
        float, typer.Option(help="Spare steps whose velocity changes by a smaller share; 0 is off, 0.2 spares some.")
    ] = 0.0
    pag_scale: Annotated[float, typer.Option(help="Perturbed-attention guidance; 0 is off.")] = 0.0
    solver: Annotated[SolverName | None, typer.Option(help="The model's own if not given.")] = None
    seed: Annotated[
        str, typer.Option(metavar="NUMBER|random", help="Picture j of every prompt has the seed NUMBER + j.")
    ] = "0"
    num_images: Annotated[int, typer.Option(help="Pictures of every prompt.")] = 1
    upscale: Annotated[
        int, typer.Option(metavar="2|4", help="Enlarge each side so many times afterwards, by a small network.")
    ] = 1
    use_instruction: Annotated[
        bool, typer.Option("--instruction/--no-instruction", help="Put the model's instruction before the prompt.")
    ] = True

    def requests(
        self, prompts: Sequence[str], edits: EditOptions, controls: ControlOptions, clips: ClipOptions | None
    ) -> list[GenerationRequest]:
        """One a prompt, for pictures where ``clips`` is None; raises RequestError where no model could do it."""
        from sanakit.pipelines.adapting.use import as_adapters
        from sanakit.pipelines.request import GenerationRequest, VideoRequest
        from sanakit.pipelines.sources.picture import SourcePicture

        fields = asdict(self)
        width, height = parse_size(fields.pop("size"))
        with suppress(ValueError):  # of a word, which the request refuses unless it is random
            fields["seed"] = int(self.seed)
        fields["angles"] = None if self.angles is None else parse_angles(self.angles)
        fields["adapters"] = as_adapters(fields.pop("adapter") or ())
        fields["image"] = None if self.image is None else SourcePicture.of(self.image)
        fields |= {"edit": edits.edit(), "seamless": edits.seamless, "controls": controls.controls()}
        fields |= {"width": width, "height": height, "solver": self.solver.value if self.solver else None}
        negative = fields.pop("negative_prompt")
        worded = [edits.worded(prompt, negative) for prompt in prompts]
        kind = GenerationRequest if clips is None else VideoRequest
        fields |= {} if clips is None else clips.fields()
        return [kind(prompt=text, negative_prompt=other, **fields) for text, other in worded]


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What clips have beside; fields of ``VideoRequest``."""

    num_frames: Annotated[
        int | None, typer.Option("--frames", help="Make clips of so many frames, with a model of clips.")
    ] = None
    fps: Annotated[int | None, typer.Option("--fps", help="Of clips, frames a second.")] = None
    motion_score: Annotated[
        int | None, typer.Option(help="Of clips, how much moves: 1 hardly anything, 30 much, 0 does not say it.")
    ] = None
    clip: Annotated[
        Path | None, typer.Option(help="A clip to make one from, as --image and --strength do of pictures.")
    ] = None
    extend: Annotated[
        bool, typer.Option("--extend", help="Keep --clip, and go on from its last frame for --frames.")
    ] = False

    @property
    def asked(self) -> bool:
        """Whether clips are asked for, and not pictures."""
        return self.extend or any(
            value is not None for value in (self.num_frames, self.fps, self.motion_score, self.clip)
        )

    def fields(self) -> dict[str, Any]:
        """Of ``VideoRequest``; raises as ``SourceClip.of``."""
        from sanakit.pipelines.sources.clip import SourceClip

        return {**asdict(self), "clip": None if self.clip is None else SourceClip.of(self.clip)}


@dataclass(frozen=True, kw_only=True)
class CourseOptions:
    """How steps are made, and what is seen of them."""

    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same to the bit in any company, also on a GPU; slower.")
    ] = False
    compile: Annotated[
        bool, typer.Option("--compile", help="On CUDA: quicker pictures, after seconds of compiling for each size.")
    ] = False
    preview: Annotated[
        Path | None, typer.Option(metavar="FILE.webp", help="Have in this file what is coming, after every step.")
    ] = None


def parse_angles(words: str) -> tuple[float, ...]:
    """``1.57,1.3,0.6``; raises RequestError for anything else."""
    try:
        return tuple(float(word) for word in words.split(","))
    except ValueError:
        raise RequestError(f"--angles {words} is not usable; give numbers such as 1.5708,1.3,0.6") from None


def _keep_given(written: Iterable[tuple[str, Path | None]], givens: Iterable[tuple[Path | None, str]]) -> None:
    """Raises RequestError where a file to be written is one of those that are read."""
    for (option, file), (given, what) in product(written, givens):
        if given is not None and file is not None and file.resolve() == given.resolve():
            raise RequestError(f"{option} {file} would replace {what}; choose another name")


def generate(
    run: PartsOptions,
    wishes: WishOptions,
    edits: EditOptions,
    controls: ControlOptions,
    places: PlaceOptions,
    best: BestOfOptions,
    clips: ClipOptions,
    refining: RefineOptions,
    course: CourseOptions,
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar=PROMPTS, help="What to draw; several are allowed.")
    ] = None,
    model: ModelOption = "starter",
    prompt_file: Annotated[Path | None, typer.Option(help="One prompt a line; # begins a remark; - is stdin.")] = None,
    metadata: Annotated[
        bool, typer.Option("--metadata/--no-metadata", help="Put prompt, seed and settings into the file.")
    ] = True,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Stay within, such as 8GB: narrower weights and smaller tiles where needed."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run in a dtype that the model is known not to work in, or changed weights.")
    ] = False,
) -> None:
    """Turn prompts into pictures, or with a model of clips, --frames or a FILE.mp4, .webm or .gif into clips.

    A FILE that exists is replaced; in a FOLDER every picture gets a new name of prompt and seed. With --best-of, a
    prompt whose pictures are in the FOLDER is finished: a run that was stopped goes on.
    """
    collect = pause_collection()
    limit = None if memory is None else parse_bytes(memory)
    shown = None if course.preview is None else check_preview(course.preview)
    texts = collect_prompts(prompts or [], prompt_file)
    settings = best.settings(model)
    if settings is not None and wishes.num_images > 1:
        raise RequestError(f"--num-images {wishes.num_images} has no meaning beside --best-of; say --keep")
    texts = texts if settings is None else list(dict.fromkeys(texts))
    total = len(texts) * (wishes.num_images if settings is None else settings.keep)
    of_clips = clips.asked or places.are_of_clips or makes_clips(model)
    if of_clips and settings is not None:
        raise RequestError("--best-of judges pictures, not clips; leave it out, or --frames and names of clips")
    requests = wishes.requests(texts, edits, controls, clips if of_clips else None)
    place = places.of_clips(num_clips=total) if of_clips else places.with_room(0, num_images=total)
    drawn = [(picture, "a picture that controls it") for picture in controls.control or ()]
    begun = ((wishes.image, "the picture that it begins with"), (clips.clip, "the clip that it is made from"))
    written = ("--output", place.file), ("--preview", course.preview)
    _keep_given(written, (*begun, (edits.mask, "its mask"), *drawn))
    if metadata and isinstance(place, OutputPlace):
        num_scores = 0 if settings is None else settings.num * len(best.judges)
        check_metadata(place, [text + wishes.negative_prompt for text in texts], num_scores)
    hub, judges = (run.hub, []) if settings is None else best.found(run, model)

    from sanakit.cli.terminal.picture_run import PictureRun, save_to
    from sanakit.pipelines.best_of.finished import finished_in
    from sanakit.pipelines.best_of.run import best_of

    start, refiner = time.perf_counter(), refining.opened(clips=of_clips)
    save = save_to(place, with_metadata=metadata)
    streamed = replace(place, with_record=metadata) if isinstance(place, ClipPlace) else None
    noun = "clip" if of_clips else "picture"
    watch = PictureRun(num_images=total, quiet=run.quiet, save=save, on_file=run.name_file, noun=noun)
    done = run.telling_what_is_done(lambda: watch.told)
    with done, watch.bar() as on_event:
        how: dict[str, Any] = {"deterministic": course.deterministic, "compile": course.compile, "memory": limit}
        pipeline = run.load(requests, model, place, force=force, hub=hub, refiner=refiner, **how)
        collect()
        on_event = on_event if shown is None else previewing(shown, pipeline, on_event)
        if settings is None:
            loaded = time.perf_counter()
            pipeline(requests, on_event=on_event, save_to=streamed)
        else:
            assert isinstance(place, OutputPlace)
            jury = [judge.load(pipeline.bundle.words, device=pipeline.device) for judge in judges]
            loaded = time.perf_counter()
            best_of(pipeline, requests, settings, jury, on_event=on_event, finished=partial(finished_in, place))
    run.tell_result(watch.num_done, watch.told, start=start, loaded=loaded, noun=noun)
    if limit is not None and (peak := process_memory(peak=True)) is not None:
        run.tell(f"{readable_bytes(peak)} of memory at the peak")
