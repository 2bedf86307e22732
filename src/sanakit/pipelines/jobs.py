"""From plans to jobs: what the network is told, where a picture begins, and what keeps it on its way."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import VideoDefaults
from sanakit.common.devices import moved
from sanakit.common.errors import RequestError
from sanakit.common.pixels import to_signed
from sanakit.common.seeds import draw_clip_noise, draw_step_noise
from sanakit.layers.beside import told_by_row
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.compiled_step import CompiledStep
from sanakit.models.transformers.condition import Condition, Control
from sanakit.pipelines.adapting.carried import CarriedAdapters
from sanakit.pipelines.adapting.use import AdapterUse
from sanakit.pipelines.clips.frames import encode_frames, without_first_frame
from sanakit.pipelines.controlling.carried import CarriedControls
from sanakit.pipelines.controlling.use import ControlUse
from sanakit.pipelines.decoding.decode import USABLE_SHARE
from sanakit.pipelines.decoding.encode import encode_pixels
from sanakit.pipelines.decoding.memory import FreeMemory, free_within
from sanakit.pipelines.denoise import Correct, PictureJob
from sanakit.pipelines.editing.canvas import Canvas, keeping
from sanakit.pipelines.editing.seamless import SHOWN, wrap
from sanakit.pipelines.latent_file import as_latents
from sanakit.pipelines.plan import PicturePlan, canvas_of, latent_shape, plan_pictures
from sanakit.pipelines.reading.read import PromptReader
from sanakit.pipelines.reading.words import Words
from sanakit.pipelines.request import MAX_CONTROLS, GenerationRequest
from sanakit.pipelines.resolution import LARGEST, granularity_of
from sanakit.pipelines.sources.clip import Excerpt
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.sampling.evaluation import Known, Solver
from sanakit.sampling.guidance import Branch
from sanakit.sampling.resampling import resampling
from sanakit.sampling.reuse import reusing

Prepare = Callable[[str, bool, tuple[AdapterUse, ...], "Controlled"], Condition]
Source = SourcePicture | Canvas | ControlUse | Excerpt
Encode = Callable[[Source, tuple[int, int]], Tensor]


class Controlled(NamedTuple):
    """By which pictures, and the size that these are brought to."""

    uses: tuple[ControlUse, ...] = ()
    size: tuple[int, int] = (0, 0)


class JobMaker:
    """Everything that comes before the first step of a picture.

    Args:
        bundle: the model.
        fixed_rows: every network call is to have so many rows, and every text the model's full length.
        step: the denoising step where it is compiled.
        memory: bytes that the process is to stay within; None for what is free.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        fixed_rows: int | None = None,
        step: CompiledStep | None = None,
        memory: int | None = None,
    ) -> None:
        self.bundle, self.fixed_rows, self._step = bundle, fixed_rows, step
        self.free_memory: FreeMemory = partial(free_within, memory)
        self.reader = PromptReader(Words(bundle.words)) if bundle.words else None
        own = bundle.parts.networks.get("controlnet") if bundle.parts is not None else None
        self._adapters, self._controls = CarriedAdapters(), CarriedControls(own)
        self._control_latents: dict[Hashable, Tensor] = {}  # of the last pictures that controlled

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.bundle.device

    @property
    def makes_clips(self) -> bool:
        """And not pictures."""
        return isinstance(self.bundle.card.defaults, VideoDefaults)

    @property
    def granularity(self) -> int:
        """Both sides of a generated picture are multiples of this many pixels."""
        return granularity_of(self.bundle.transformer.config, self.bundle.autoencoder.config.compression)

    def plan(self, requests: Sequence[GenerationRequest]) -> list[PicturePlan]:
        """Every picture of the requests; raises RequestError where the model cannot do one."""
        named = [
            each.model_copy(update={"controls": tuple(map(self._controls.completed, each.controls))})
            for each in requests
        ]
        temporal = self.bundle.autoencoder.config.temporal_compression
        return plan_pictures(named, self.bundle.card, self.granularity, self.reader, temporal=temporal)

    def jobs(self, plans: Sequence[PicturePlan], noises: Iterable[Tensor] | None = None) -> Iterator[PictureJob]:
        """What a denoiser needs for each picture, one by one; with the noise of its seed if there is no other."""
        prepare = lru_cache(maxsize=16)(self._preparing(plans))
        encode = self._encoding(plans)
        for plan, noise in zip(plans, self._drawn(plans) if noises is None else noises, strict=True):
            first, correct = first_latent(plan, noise, encode), correction_of(plan, encode)
            job = picture_job(plan, first, prepare, start=plan.start, correct=correct)
            self.need_transformer()
            yield job

    def prepare(
        self,
        text: str,
        with_instruction: bool,
        adapters: tuple[AdapterUse, ...] = (),
        controlled: Controlled | None = None,
    ) -> Condition:
        """Everything that depends on one text and on the adapters and pictures beside it, one row; a negative prompt
        has no instruction."""
        return self._condition(
            self.bundle.text_encoder.encode_one(text, with_instruction), adapters, controlled or Controlled()
        )

    def _preparing(self, plans: Sequence[PicturePlan]) -> Prepare:
        """``prepare``; where networks take turns, all texts are encoded first."""
        if not self.bundle.readers:
            return self.prepare
        self.bundle.need("text_encoder")
        encode = self.bundle.text_encoder.encode_one
        encoded = {text: encode(*text) for plan in plans for text in texts_of(plan)}
        return lambda *asked: self._condition(encoded[asked[:2]], *asked[2:])

    def _encoding(self, plans: Sequence[PicturePlan]) -> Encode:
        """``encode``, of which the last are kept; where networks take turns, all pictures are encoded first."""
        if not self.bundle.readers:
            return lru_cache(maxsize=4)(self.encode)
        encode = cache(self.encode)
        for plan in plans:
            if (source := source_of(plan)) is not None:
                encode(source, plan.generated)
            for use in plan.request.controls:
                if use.scale:
                    self._control_latent(use, plan.generated)
        return encode

    def need_transformer(self) -> None:
        """Have its weights in memory, and what it carries beside them."""
        self.bundle.need("transformer")
        self._adapters.hang_in(self.bundle.transformer)

    def _condition(self, text: TextCondition, adapters: tuple[AdapterUse, ...], controlled: Controlled) -> Condition:
        text = TextCondition(text.embeds.to(self.device), text.mask.to(self.device))
        latents = [(use, self._control_latent(use, controlled.size)) for use in controlled.uses if use.scale]
        self.need_transformer()
        mix = self._adapters.mix(adapters, self.bundle.transformer)
        with told_by_row((mix,) if mix else ()):
            condition = self.bundle.transformer.prepare(text)
            controls = tuple(self._control(use, text, latent) for use, latent in latents)
        condition = replace(condition, beside=(mix,) if mix else (), controls=controls)
        return condition.pad(self.bundle.text_encoder.config.max_tokens) if self.fixed_rows or self._step else condition

    def _control_latent(self, use: ControlUse, size: tuple[int, int]) -> Tensor:
        """Encoded once for every text of a picture, and for pictures to come."""
        key = (use.image, use.type, size)
        if key not in self._control_latents:
            if len(self._control_latents) >= MAX_CONTROLS:
                del self._control_latents[next(iter(self._control_latents))]
            self._control_latents[key] = self.encode(use, size)
        return self._control_latents[key]

    def _control(self, use: ControlUse, text: TextCondition, latent: Tensor) -> Control:
        """What the network of a use that is completed is told."""
        assert use.model is not None
        network = self._controls.network(use.model, self.bundle.transformer)
        control = network.prepare(text, latent, self.bundle.transformer, scale=use.scale)
        return replace(control, interval=(use.start, use.end))

    def encode(self, source: Source, size: tuple[int, int]) -> Tensor:
        """The latent ``(1, C, h, w)`` float32 of a picture, brought to height and width; of a clip ``(1, C, t, h, w)``.

        Raises:
            RequestError: its pixels are not here.
        """
        pixels = to_signed([*source.fitted(*size)] if isinstance(source, Excerpt) else [source.fitted(*size)])
        self.bundle.need("autoencoder")
        if isinstance(self.bundle.autoencoder, ClipAutoencoder):
            return encode_frames(self.bundle.autoencoder, pixels).to(self.device)
        free = self._free_for(source if isinstance(source, Canvas) else None)
        return encode_pixels(self.bundle.autoencoder, pixels, free_memory=free).to(self.device)

    def _free_for(self, canvas: Canvas | None) -> FreeMemory:
        """What is free; where a picture may be larger than the model makes, no more than one that it makes needs."""
        if canvas is None or canvas.edit.factor == 1:
            return self.free_memory
        side = LARGEST * self.bundle.card.defaults.base_size
        most = int(self.bundle.autoencoder.config.decode_bytes(side, side) / USABLE_SHARE) + 1
        return lambda device: most if (free := self.free_memory(device)) is None else min(free, most)

    def noises(self, plans: Sequence[PicturePlan], latents: Tensor | NDArray[Any] | None) -> list[Tensor]:
        """Initial noise ``(1, C, h, w)`` float32 of each picture, drawn on the CPU and moved."""
        if latents is None:
            return list(self._drawn(plans))
        latents, shapes = as_latents(latents), [self._latent_shape(plan) for plan in plans]
        if len(set(shapes)) > 1 or latents.shape != (len(plans), *shapes[0]):
            raise RequestError(
                f"latents of shape {tuple(latents.shape)} do not fit; all pictures must have one size, "
                f"and these need {(len(plans), *shapes[0])}."
            )
        if not latents.isfinite().all():
            raise RequestError("latents hold values that are not numbers; give normal noise.")
        return [noise[None].to(self.device, torch.float32) for noise in latents]

    def _drawn(self, plans: Sequence[PicturePlan]) -> Iterator[Tensor]:
        """The noise ``(1, C, h, w)`` of each seed, of clips ``(1, C, t, h, w)``."""
        defaults = self.bundle.card.defaults
        shared = defaults.shared_noise if isinstance(defaults, VideoDefaults) else 0.0
        for plan in plans:
            yield moved(draw_clip_noise(self._latent_shape(plan), plan.request.seed, shared)[None], self.device)

    def _latent_shape(self, plan: PicturePlan) -> tuple[int, ...]:
        return latent_shape(plan, self.bundle.transformer.config.in_channels, self.bundle.autoencoder.config)


def first_latent(plan: PicturePlan, noise: Tensor, encode: Encode) -> Tensor:
    """Where a picture begins: with its noise ``(1, C, h, w)``, or with another picture's latent under some of it; a
    clip so too, or with a picture as its first frame."""
    source = source_of(plan)
    latent = None if source is None else encode(source, plan.generated)
    if latent is not None and plan.keeps_first_frame:
        return torch.cat([latent, noise[:, :, 1:]], dim=2)
    return plan.solver.schedule().first_latent(noise, latent, plan.start)


def source_of(plan: PicturePlan) -> SourcePicture | Canvas | Excerpt | None:
    """What a picture begins with beside its noise."""
    if plan.excerpt is not None:
        return replace(plan.excerpt, last_alone=plan.keeps_first_frame)
    return canvas_of(plan.request) or plan.request.image


def correction_of(plan: PicturePlan, encode: Encode) -> Correct | None:
    """What keeps the velocities of an edit on the way to the picture, where that is kept; and the first frame of a
    clip where it is."""
    if plan.keeps_first_frame:
        return without_first_frame
    canvas = canvas_of(plan.request)
    if canvas is None or not canvas.edit.changes_parts:
        return None
    known = encode(canvas, plan.generated)
    return keeping(known, canvas.free(*known.shape[-2:]).to(known.device))


def picture_job(
    plan: PicturePlan,
    latent: Tensor,
    prepare: Prepare,
    *,
    start: int = 0,
    previous: Tensor | None = None,
    known: Known | None = None,
    correct: Correct | None = None,
) -> PictureJob:
    """What a denoiser needs for a picture: from its first latent ``(1, C, h, w)`` on, or from where an evaluation left
    it."""

    def draw(step: int) -> Tensor:
        return moved(draw_step_noise(latent.shape[1:], plan.request.seed, step)[None], latent.device)

    solver = plan.solver.start(latent, draw, start=start, previous=previous)
    edit = plan.request.edit
    if edit is not None and edit.changes_parts and not plan.request.reuse:  # which spares calls, and these first

        def again(latent: Tensor, step: int, previous: Tensor | None) -> Solver:
            return plan.solver.start(latent, draw, start=step, previous=previous)

        solver = resampling(solver, again, draw, edit.resample)
    if plan.request.reuse:
        solver = reusing(solver, plan.request.reuse, kind=plan.guidance.branches, known=known)
    conditions = conditions_of(plan, prepare)
    if plan.keeps_first_frame:
        conditions = {branch: told.with_clean(latent.shape[2]) for branch, told in conditions.items()}
    wrapped = SHOWN if plan.request.seamless else 0
    conditions = {branch: told.on_map(partial(wrap, cells=wrapped)) for branch, told in conditions.items()}
    return PictureJob(solver=solver, guidance=plan.guidance, conditions=conditions, correct=correct, wrapped=wrapped)


def conditions_of(plan: PicturePlan, prepare: Prepare) -> dict[Branch, Condition]:
    """What the network is told in each branch that the guidance may ask for."""
    conditions: dict[Branch, Condition] = {}
    for (branch, told), text in zip(plan.guidance.inputs().items(), texts_of(plan), strict=True):
        condition = prepare(*text, plan.request.adapters, Controlled(plan.request.controls, plan.generated))
        condition = condition.perturb(told.perturbed_layers) if told.perturbed_layers else condition
        conditions[branch] = condition if told.guidance is None else condition.with_guidance(told.guidance)
    return conditions


def texts_of(plan: PicturePlan) -> list[tuple[str, bool]]:
    """The text of each branch, and whether the instruction stands before it."""
    prompt, negative = (plan.told, plan.request.use_instruction), (plan.request.negative_prompt, False)
    return [negative if told.text == "negative" else prompt for told in plan.guidance.inputs().values()]
