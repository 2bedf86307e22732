"""What a pipeline tells while it works; progress bars, previews and server-sent events are made of these.

An exception raised by the listener ends the run at that step, and nothing is left behind.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.pipelines.reading.unknown import told
from sanakit.sampling.scm import SCM
from sanakit.sampling.trigflow import angle_of

if TYPE_CHECKING:
    from sanakit.checkpoints.bundle import ModelBundle
    from sanakit.models.text.text_encoder import TextEncoder, TokenCount
    from sanakit.pipelines.denoise import StepTaken
    from sanakit.pipelines.plan import PicturePlan
    from sanakit.pipelines.reading.read import PromptReader
    from sanakit.pipelines.request import GenerationRequest
    from sanakit.pipelines.result import GeneratedImage


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StepDone:
    """Step ``index`` (from 0) of ``total`` is done for picture ``image_index`` (from 0) of ``num_images``.

    ``latent`` is the clean latent ``(1, C, h, w)`` that the step implies: decode it for a preview.
    """

    index: int
    total: int
    image_index: int
    num_images: int
    latent: Tensor


class StepsTold:
    """Steps of pictures as events; one that is taken back is told the first time alone. ``behind`` is how many steps
    of another network follow those of a picture."""

    def __init__(self, num_images: int, behind: int = 0) -> None:
        self._num_images, self._behind, self._last = num_images, behind, dict[int, int]()

    def done(self, image_index: int, taken: StepTaken[Any], begun: int) -> StepDone | None:
        """Of a picture whose solver began at step ``begun``; None for a step that was told."""
        step = taken.evaluation
        if step.index <= self._last.get(image_index, -1):
            return None
        self._last[image_index] = step.index
        return StepDone(
            index=step.index - begun, total=step.total - begun + self._behind, image_index=image_index,
            num_images=self._num_images, latent=taken.denoised,
        )  # fmt: skip

    def done_behind(self, image_index: int, index: int, num_steps: int, latent: Tensor) -> StepDone:
        """Of the other network, behind ``num_steps`` of the picture's own."""
        return StepDone(
            index=num_steps + index, total=num_steps + self._behind, image_index=image_index,
            num_images=self._num_images, latent=latent,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageDone:
    """Picture ``image_index`` (from 0) of ``num_images`` is finished."""

    image_index: int
    num_images: int
    image: GeneratedImage


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know and that does not stop the work, in one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Candidates for a picture were looked at after ``step`` of ``total``: so many stay, and the others do no more."""

    step: int
    total: int
    stayed: int
    dropped: int


Event = StepDone | ImageDone | Judged | Notice
OnEvent = Callable[[Event], None]
OnStep = Callable[[int, Tensor], None]


_CALLED_WITH = {"on_event": ("event",), "on_step": ("index", "latent")}


def check_listeners(**listeners: object) -> None:
    """Raises RequestError for one that is there and cannot be called as it will be."""
    for name, listener in listeners.items():
        if listener is None:
            continue
        if not callable(listener):
            raise RequestError(f"{name}={listener!r} cannot be called; give a function.")
        try:
            signature = inspect.signature(listener)
        except ValueError:  # some of C tell nothing of their parameters
            continue
        try:
            signature.bind(*_CALLED_WITH[name])
        except TypeError:
            called = f"{name}({', '.join(_CALLED_WITH[name])})"
            text = f"{name}= takes {signature}, and is called as {called}; give such a function."
            raise RequestError(text) from None


_LEAST_SHARE = 1e-3  # of a picture, below which nothing of it is seen
LONG_READ = 10**9  # bytes of weights whose hashing takes long enough to be told about


def notices_about(requests: Sequence[GenerationRequest], text_encoder: TextEncoder) -> Iterator[Notice]:
    """What is unusual: prompts that are empty or do not fit into the text encoder, and settings without effect."""
    for prompt, with_instruction in dict.fromkeys((request.prompt, request.use_instruction) for request in requests):
        if not prompt.strip():
            yield Notice("the prompt is empty, so the picture is of nothing in particular.")
        yield from _notice_of_a_cut("prompt", text_encoder.count_tokens(prompt, with_instruction=with_instruction))
    if any(request.guidance_interval != (0.0, 1.0) and request.guidance_scale == 1.0 for request in requests):
        yield Notice("guidance is off at guidance scale 1, so the guidance interval changes nothing.")
    for negative in dict.fromkeys(request.negative_prompt for request in requests):
        yield from _notice_of_a_cut("negative prompt", text_encoder.count_tokens(negative, with_instruction=False))


def _notice_of_a_cut(name: str, tokens: TokenCount) -> Iterator[Notice]:
    if tokens.dropped:
        total = tokens.kept + tokens.dropped
        yield Notice(f"the {name} has {total} tokens and the model reads {tokens.kept}; its end was cut off.")


def notices_about_words(requests: Sequence[GenerationRequest], reader: PromptReader, model: str) -> Iterator[Notice]:
    """How prompts were read where that is not as they were written, and their words that the model does not know."""
    for prompt in dict.fromkeys(request.prompt for request in requests):
        reading = reader.read(prompt)
        if reading.text != prompt:
            yield Notice(f'the prompt was read as "{reading.text}"')
        if reading.unknown:
            yield Notice(told(reading.unknown, model))


def notices_about_sources(plans: Sequence[PicturePlan]) -> Iterator[Notice]:
    """That a picture or clip is to be changed of which the first step sees nothing; and how a mask or clip was read."""
    for about in (_source_without_influence, _how_a_mask_is_read, _how_a_clip_is_read):
        yield from map(Notice, dict.fromkeys(filter(None, map(about, plans))))


def _how_a_mask_is_read(plan: PicturePlan) -> str:
    image, edit = plan.request.image, plan.request.edit
    if image is None or edit is None or edit.mask is None:
        return ""
    mask, size = edit.mask, f"{image.width}x{image.height} px"
    other = (mask.width, mask.height) != (image.width, image.height)
    stretched = f", stretched from {mask.width}x{mask.height} to {size}" if other else ""
    share = f"{mask.share:.0%}" if mask.share >= 0.01 else "less than 1%"
    of, where = image.name or "the picture", mask.name or "the mask"
    return f"{share} of {of} is made anew, where {where} is {mask.means}{stretched}."


def _how_a_clip_is_read(plan: PicturePlan) -> str:
    if (taken := plan.excerpt) is None:
        return ""
    clip, (height, width) = taken.clip, plan.generated
    at, own = "", f"{clip.num_frames} frames"
    if clip.fps is not None:
        at, own = f" at {taken.fps} a second", f"{clip.num_frames / clip.fps:.1f} s, {clip.fps:g} frames a second"
    which = "its" if plan.keeps_first_frame else "the first"  # of an extension, which goes on behind all of it
    return (
        f"of {clip.name or 'the clip'} ({own}, {clip.width}x{clip.height} px) {which} {taken.num_frames} frames{at} "
        f"are taken, cut to {width}x{height} px."
    )


def _source_without_influence(plan: PicturePlan) -> str:
    """What there is to say of it: steps are whole, and the first begins with noise alone."""
    request, solver = plan.request, plan.solver
    anew = request.edit is not None and request.edit.changes_parts
    source = None if plan.keeps_first_frame else plan.excerpt.clip if plan.excerpt else request.image
    if source is None or anew or math.cos(angle_of(solver.schedule().sigmas[plan.start])) >= _LEAST_SHARE:
        return ""
    steps, ways = solver.num_steps, []
    if request.strength is not None:
        ways.append(f"strength up to {(steps - 1) / steps:.3g}" if steps > 1 else "more steps")
    if isinstance(solver, SCM):
        ways.append("--start-angle (start_angle=) from 0.6 to 1.3")
    given = f"start_angle={request.start_angle}" if request.strength is None else f"strength={request.strength:g}"
    name, step = source.name or f"the {'clip' if plan.excerpt else 'picture'}", plan.start + 1
    return (
        f"{name} has no influence: {given} begins with step {step} of {steps}, where all is noise; give "
        f"{' or '.join(ways)}."
    )


def notices_about_model(bundle: ModelBundle) -> Iterator[Notice]:
    """That the weights are read once more beside the steps, for the hash in records."""
    num_bytes = bundle.bytes_to_hash()
    if num_bytes >= LONG_READ:
        yield Notice(f"the model's {num_bytes / 1e9:.1f} GB of weights are read once for the hash in every record.")
