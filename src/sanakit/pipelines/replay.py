"""Make a picture again from the record inside it, and say whether it is the same to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from sanakit.checkpoints.opening import open_model
from sanakit.checkpoints.sources.origin import shipped_folder
from sanakit.common.errors import PictureError, SanakitError
from sanakit.common.paths import as_path
from sanakit.kernels.arithmetic import MAX_THREADS, own_arithmetic
from sanakit.pipelines.adapting.use import AdapterUse
from sanakit.pipelines.check import load_for
from sanakit.pipelines.clips.files import read_clip_record, read_frames
from sanakit.pipelines.clips.refine import Refiner
from sanakit.pipelines.controlling.use import ControlModel, ControlUse
from sanakit.pipelines.editing.edit import Mask
from sanakit.pipelines.events import OnEvent
from sanakit.pipelines.latent_file import as_latents, hash_latent
from sanakit.pipelines.picture_file import as_stored, open_single_picture, read_record
from sanakit.pipelines.record import PictureRecord, describe_image
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.pipelines.result import GeneratedImage
from sanakit.pipelines.sources.clip import SourceClip
from sanakit.pipelines.sources.picture import SourceFacts, SourcePicture
from sanakit.pipelines.text_to_image import TextToImagePipeline

T = TypeVar("T", bound=SourceFacts)
Outcome = Literal["identical", "nearly identical", "different"]
_WITHOUT = {"image": "from its prompt alone, and no picture", "mask": "without a mask", "clip": "from no clip"}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReplayResult:
    """``identical``: every pixel of ``image`` equals the picture as it was made, and the file holds that picture, a
    JPEG or WebP as its format stores it; of a clip, all frames are what they were before they were encoded. ``nearly
    identical``: no value differs by more than one of 255 levels.

    ``differences`` are sentences: what differs in the pixels, and what is not as it was then and may be the reason.
    """

    outcome: Outcome
    image: GeneratedImage
    differences: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return self.outcome == "identical"


class Sources(TypedDict, total=False):
    """What a picture was made from: files of their names are looked for beside it; masks beside ``image``, too,
    adapters and ControlNets in the current folder. ``controls`` are pictures that control."""

    image: object
    mask: object
    clip: object
    adapters: Sequence[Any]
    controls: Sequence[Any]
    control_models: Sequence[Any]


def replay(
    path: str | Path,
    pipeline: TextToImagePipeline | None = None,
    *,
    on_event: OnEvent | None = None,
    latents: Tensor | NDArray[Any] | None = None,
    long: bool = False,
    **sources: Unpack[Sources],
) -> ReplayResult:
    """Make the picture in ``path`` again, in as many threads of the CPU as it was made in.

    Args:
        path: a picture that sanakit wrote, with its metadata.
        pipeline: the model to use; None loads the starter, if that made the picture.
        on_event: as in the pipeline.
        latents: the initial noise ``(1, C, h, w)``, tensor or array, of a picture that was made from given latents.
        long: also where the record asks for more work than `PictureRecord.check_work` lets it.
        sources: what it was made from, as a request takes it, where that is not found by its name.

    Raises:
        PictureError: the file cannot be read or holds no record, was made with another model than the starter and
            there is no ``pipeline``, with latents, adapters or from a picture that are not here, or its record asks
            for too much.
    """
    record, picture = read_made(path)
    if not long:
        record.check_work(path, size_of(path, picture))
    request = request_again(record, path, latents=latents, **sources)
    if pipeline is None:
        record.model.refuse_unnamed(path)
        how: dict[str, Any] = {"dtype": dict(record.model.dtypes), "quantize": dict(record.model.quantized) or None}
        pipeline = load_for([request], open_model(shipped_folder(record.model.source), **how))
    again = copy(pipeline)
    again.fixed_rows = record.rows_per_call
    again.refiner = _refiner_of(record, pipeline, path)
    with own_arithmetic(_threads(record)):
        made = again(request, on_event=on_event, latents=latents).images[0]
    if picture is None:
        outcome, differing = compare_frames(record, made.record, path)
    else:
        outcome, differing = compare(record, picture, made.picture)
    return ReplayResult(outcome=outcome, image=made, differences=(*differing, *circumstances(record, made.record)))


def request_again(
    record: PictureRecord, path: str | Path, *, latents: Tensor | NDArray[Any] | None = None, **sources: Unpack[Sources]
) -> GenerationRequest:
    """The request of a record with all that its picture was made from, as it is given or found.

    Raises:
        PictureError: something is not there or another one, noise that is not of a seed too.
    """
    _check_latents(record, latents, path)
    found = {
        "adapters": find_adapters(record, path, sources.get("adapters", ())),
        "controls": find_controls(record, path, sources.get("controls", ()), sources.get("control_models", ())),
    }
    pixels = {name: sources.get(name) for name in ("image", "mask", "clip")}
    request = with_sources(record, path, **pixels)
    return request.model_copy(update=found)


def read_made(path: str | Path) -> tuple[PictureRecord, Image.Image | None]:
    """The record in a picture or a clip, and the picture.

    Raises:
        PictureError: it cannot be read or holds no record.
    """
    record = read_clip_record(path) or read_record(path)
    return record, None if isinstance(record.request, VideoRequest) else open_single_picture(path)


def size_of(path: str | Path, picture: Image.Image | None) -> tuple[int, int]:
    """Width and height of a picture, or of the first frame of the clip in ``path``.

    Raises:
        PictureError: it cannot be read.
    """
    if picture is not None:
        return picture.size
    height, width = next((frame.shape[:2] for frame in read_frames(path)), (0, 0))
    return width, height


def compare_frames(record: PictureRecord, made: PictureRecord, path: str | Path) -> tuple[Outcome, list[str]]:
    """By the hash of the frames before they were encoded, as their format changes them; the file has as many."""
    told = [] if record.image == made.image else ["the frames are not those that the record describes"]
    rate = getattr(record.request, "fps", None)
    wanted, found = record.image.num_frames if record.image else None, sum(1 for _ in read_frames(path, rate))
    if found != wanted:
        told.append(f"the file holds {found} frames and the record describes {wanted}")
    return "different" if told else "identical", told


def _check_latents(record: PictureRecord, latents: Tensor | NDArray[Any] | None, path: str | Path) -> None:
    if latents is not None and record.latents != hash_latent(as_latents(latents)):
        raise PictureError(f"{path} was not made from these latents, but from {_noise(record)}")
    if latents is None and record.latents is not None:
        raise PictureError(
            f"{path} was made from {_noise(record)}, which its record does not hold; give them to "
            f"sanakit.pipelines.replay.replay as latents="
        )


def _refiner_of(record: PictureRecord, pipeline: TextToImagePipeline, path: str | Path) -> Refiner | None:
    """The pipeline's, where the clip was refined; that it is another one is told afterwards."""
    if pipeline.refiner is None:
        require_refiner(record, path)
    return None if record.refiner is None else pipeline.refiner


def require_refiner(record: PictureRecord, path: str | Path) -> None:
    """Raises PictureError where a clip was refined, and there is nothing to do that again."""
    if record.refiner is not None:
        raise PictureError(
            f"{path} was refined by {record.refiner.name} ({record.refiner.hash[:10]}); name that with --refine "
            f"(pipeline.refine_with)"
        )


def with_sources(
    record: PictureRecord, path: str | Path, *, image: object = None, mask: object = None, clip: object = None
) -> GenerationRequest:
    """The request of a record with what it was made from: what is given, else files of these names
    beside ``path``, or beside the picture that is given.

    Raises:
        PictureError: they are not there, or others.
    """
    edit, places = record.request.edit, [as_path(path).parent]
    if isinstance(image, str | Path):
        places.append(as_path(image).parent)
    found: dict[str, Any] = {"image": _found(record.request.image, image, SourcePicture.of, path, places, "image")}
    wanted = getattr(record.request, "clip", None)  # which only clips have
    if (source := _found(wanted, clip, SourceClip.of, path, places, "clip")) is not None:
        found["clip"] = source
    if edit is None or edit.mask is None:
        _found(None, mask, Mask.of, path, places, "mask")
        return record.request.model_copy(update=found)
    means = edit.mask.means
    levels = _found(edit.mask, mask, lambda given: Mask.of(given, means), path, places, "mask")
    return record.request.model_copy(update={**found, "edit": edit.model_copy(update={"mask": levels})})


def _found(
    wanted: T | None, given: object, read: Callable[[object], T], path: str | Path, places: Sequence[Path], name: str
) -> T | None:
    if wanted is None:
        if given is not None:
            raise PictureError(f"{path} was made {_WITHOUT[name]}; leave {name} out")
        return None
    if given is not None:
        found = read(given)
        if found != wanted:
            raise PictureError(f"{path} was made from {wanted}, and this is {found}")
        return found
    for place in places if wanted.name else ():
        with suppress(SanakitError):
            if (found := read(place / wanted.name)) == wanted:
                return found
    raise PictureError(f"{path} was made from {wanted}, which is not beside it; name it with --{name} ({name}=)")


def find_adapters(record: PictureRecord, path: str | Path, given: Sequence[Any] = ()) -> tuple[AdapterUse, ...]:
    """Those that a picture was made with, by their hashes: of those that are given, else files of their names.

    Raises:
        PictureError: one is not there, or one that is given is none of them.
    """
    named, wanted = [AdapterUse.of(each) for each in given], record.request.adapters
    if strangers := [str(each) for each in named if each.sha256 not in {use.sha256 for use in wanted}]:
        raise PictureError(f"{path} was not made with {strangers[0]}; leave it out")
    return tuple(use.found((as_path(path).parent, Path()), named) for use in wanted)


def find_controls(
    record: PictureRecord, path: str | Path, given: Sequence[Any] = (), models: Sequence[Any] = ()
) -> tuple[ControlUse, ...]:
    """The pictures that controlled one, and their networks, by their hashes: of what is given, else files of their
    names; a network also where the model's own is that one.

    Raises:
        PictureError: one is not there, or one that is given is none of them.
    """
    pictures, networks = [SourcePicture.of(each) for each in given], [ControlModel.of(each) for each in models]
    wanted, places = record.request.controls, (as_path(path).parent, Path())
    strangers = [*(set(pictures) - {use.image for use in wanted}), *(set(networks) - {use.model for use in wanted})]
    if strangers:
        raise PictureError(f"{path} was not made with {strangers[0]}; leave it out")
    found = []
    for use in wanted:
        image = next((each for each in pictures if each == use.image), None)
        image = _found(use.image, image, SourcePicture.of, path, places[:1], "control")
        found.append(use.changed(image=image, model=_network(use.model, networks, places)))
    return tuple(found)


def _network(wanted: ControlModel | None, given: Sequence[ControlModel], places: Sequence[Path]) -> ControlModel | None:
    """Of those that are given, else of that name in a place, else its facts, which may be those of the model's own."""
    if wanted is None or wanted in given:
        return next((each for each in given if each == wanted), wanted)
    for place in places if wanted.name else ():
        with suppress(SanakitError):
            if (found := ControlModel.of(place / wanted.name)) == wanted:
                return found
    return wanted


def _noise(record: PictureRecord) -> str:
    return f"latents with SHA-256 {record.latents[:10]}" if record.latents else "the noise of its seed"


def _threads(record: PictureRecord) -> int | None:
    """Those of the record, within reason; None for those that are."""
    counts = record.device == "cpu" and record.threads is not None and 1 <= record.threads <= MAX_THREADS
    return record.threads if counts else None


def compare(record: PictureRecord, picture: Image.Image, made: Image.Image) -> tuple[Outcome, list[str]]:
    """The file's pixels with those that its format would hold of ``made``, and what differs."""
    stored = as_stored(made, picture.format)
    shown = ImageOps.exif_transpose(picture)
    if shown.size != stored.size:
        return "different", [
            f"the file holds {shown.width}x{shown.height} pixels and the replay {stored.width}x{stored.height}"
        ]
    old, new = (np.asarray(image.convert("RGBA"), dtype=np.int16) for image in (shown, stored))
    levels = np.abs(old - new)
    as_recorded, as_in_file = describe_image(made) == record.image, not levels.any()
    if as_recorded and as_in_file:
        return "identical", []
    share = 100.0 * float((levels.max(axis=2) > 0).mean())
    told = [f"{share:.2f}% of the pixels in the file differ from the replay, by at most {levels.max()} of 255 levels"]
    if as_recorded or (picture.format == "PNG" and describe_image(picture) != record.image):
        told.append("the pixels in the file are no longer those that the record describes")
    return "nearly identical" if levels.max() <= 1 else "different", told


def circumstances(then: PictureRecord, now: PictureRecord) -> Iterator[str]:
    """What is not as it was, whether or not the pixels show it."""
    if then.read_as != now.read_as:
        old, new = (record.read_as or record.request.prompt for record in (then, now))
        yield f'the prompt was read as "{old}" and is read as "{new}"'
    if then.model.hash != now.model.hash:
        old, new = (f"{model.name} ({model.hash[:10]})" for model in (then.model, now.model))
        yield f"the model was {old} and is {new}"
    if then.upscaler is not None and now.upscaler is not None and then.upscaler != now.upscaler:
        old_network, new_network = (f"{each.name} ({each.hash[:10]})" for each in (then.upscaler, now.upscaler))
        yield f"the upscaler was {old_network} and is {new_network}"
    if then.refiner is not None and now.refiner is not None and then.refiner.hash != now.refiner.hash:
        old_network, new_network = (f"{each.name} ({each.hash[:10]})" for each in (then.refiner, now.refiner))
        yield f"the refiner was {old_network} and is {new_network}"
    if then.model.settings not in (None, now.model.settings):
        yield "the settings of the model (config.json of a network, or its card) are not as they were"
    if then.model.replaced != now.model.replaced:
        for name in dict.fromkeys((*then.model.replaced, *now.model.replaced)):
            origins = (model.replaced.get(name) for model in (then.model, now.model))
            old, new = ("the model's own" if origin is None else origin.name for origin in origins)
            yield f"the {name.replace('_', ' ')} was {old} and is {new}"
    if then.model.quantized != now.model.quantized:
        old, new = (str(dict(model.quantized) or "plain") for model in (then.model, now.model))
        yield f"the weights were {old} and are {new}"
    if then.model.dtypes != now.model.dtypes:
        yield f"the dtypes were {dict(then.model.dtypes)} and are {dict(now.model.dtypes)}"
    if then.device != now.device:
        yield f"the device was {then.device} and is {now.device}"
    yield from _other_arithmetic(then.arithmetic, now.arithmetic)
    if then.rows_per_call not in (None, now.rows_per_call):
        rows = now.rows_per_call or "as many as there are"
        yield f"every call of the network had {then.rows_per_call} rows and has {rows}"
    if then.device == "cpu" and then.threads not in (None, now.threads):
        yield f"the CPU computed in {then.threads} threads and does so in {now.threads}"
    for name, version in then.versions.items():
        if now.versions.get(name) != version:
            yield f"{name} was {version} and is {now.versions.get(name, 'not used')}"


def _other_arithmetic(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Settings that one of both does not mention were as torch begins with; early records have none at all."""
    for name in dict.fromkeys((*then, *now)) if then else ():
        old, new = (facts.get(name, "as usual") for facts in (then, now))
        if old != new:
            yield f"{name}: {old} then, {new} now"
