"""The walk of a prompt: text, noise, solver, guidance, network, autoencoder, picture."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.hashing import combined_hash
from sanakit.checkpoints.refiner import FOLLOWS, OpenedRefiner, open_refiner
from sanakit.checkpoints.sources.origin import Origin
from sanakit.common.devices import resolve_device
from sanakit.common.errors import CheckpointError, PictureError, RequestError, SanakitError
from sanakit.common.paths import as_path
from sanakit.common.pixels import to_signed
from sanakit.common.progress import Meanwhile
from sanakit.kernels.arithmetic import arithmetic_facts, own_arithmetic
from sanakit.kernels.int8_linear import products_on
from sanakit.models.transformers.compiled_step import CompiledStep, check_compiler
from sanakit.pipelines.adapting.carried import check_adapters
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.decode import decode_clip
from sanakit.pipelines.clips.place import ClipPlace, streamed_to
from sanakit.pipelines.clips.refine import OnStep as OnRefined
from sanakit.pipelines.clips.refine import Refiner, check_refiner, refined_or_kept
from sanakit.pipelines.controlling.carried import check_controls
from sanakit.pipelines.decoding.beside import Decodings
from sanakit.pipelines.decoding.decode import TIGHT_SHARE, decode_latent
from sanakit.pipelines.denoise import Denoiser, Finished, StepTaken, denoise
from sanakit.pipelines.editing.seamless import DECODED, middle, wrap
from sanakit.pipelines.editing.tiles import TiledStep
from sanakit.pipelines.events import (
    ImageDone,
    Notice,
    OnEvent,
    OnStep,
    StepDone,
    StepsTold,
    check_listeners,
    notices_about,
    notices_about_model,
    notices_about_sources,
    notices_about_words,
)
from sanakit.pipelines.jobs import JobMaker
from sanakit.pipelines.latent_file import SavedLatent, hash_latent, rescued
from sanakit.pipelines.plan import PicturePlan, canvas_of
from sanakit.pipelines.record import (
    ADAPTERS,
    CLIP,
    CONTROLS,
    EDIT,
    LATENTS,
    QUANTIZED,
    READING,
    REFINED,
    REUSE,
    SEAMLESS,
    ModelReference,
    PictureRecord,
    describe_image,
    software_versions,
)
from sanakit.pipelines.request import Asked, GenerationRequest, VideoRequest, as_requests
from sanakit.pipelines.resolution import LARGEST, resize_and_crop
from sanakit.pipelines.result import GeneratedImage, GenerationResult, Output, as_output, check_output, to_image
from sanakit.pipelines.upscaling.images import enlarge
from sanakit.pipelines.upscaling.records import upscaled_record
from sanakit.pipelines.upscaling.upscaler import Upscaler, load_upscaler
from sanakit.quantization.schemes import scheme_named

logger = logging.getLogger(__name__)

MAX_BATCH = 8  # pictures denoised together where there is an accelerator
FIXED_ROWS = 4  # of a deterministic call: two pictures with guidance, or one that is perturbed too


class TextToImagePipeline(JobMaker):
    """Prompt in, picture out.

    On the CPU every picture has its own network calls, so that it is the same to the bit alone and in company; on
    other devices the pictures of a call that have one size are denoised together, and agree but for rounding.

    Args:
        bundle: the model.
        max_batch: how many pictures at most are denoised together on an accelerator; of large ones, fewer are.
        deterministic: every network call has ``FIXED_ROWS`` rows, or the number given, and every text the model's full
            length: pictures are then the same to the bit in any company, also on an accelerator, and take longer.
        rescue_folder: where a finished latent is kept while its decoding might run out of memory; ``None`` is a folder
            of this user alone in the system's temporary folder.
        upscalers: gives the upscaler of a scale on a device, where a request asks for a larger picture.
        memory: bytes that the process is to stay within, which decides the tiles of decoding on the CPU; None for what
            is free.
        compile: compile the denoising step and play it back as a CUDA graph, once for every size and number of rows;
            takes seconds each, and gives other last bits. On the CPU it does not pay.

    Raises:
        RequestError: it is to be compiled, and cannot be here.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        max_batch: int = MAX_BATCH,
        deterministic: bool | int = False,
        rescue_folder: str | Path | None = None,
        upscalers: Callable[[int, torch.device], Upscaler] = load_upscaler,
        memory: int | None = None,
        compile: bool = False,
    ) -> None:
        if compile:
            check_compiler(str(bundle.transformer.device))
        rows = FIXED_ROWS if deterministic is True else deterministic or None
        step = CompiledStep(bundle.transformer) if compile else None
        super().__init__(bundle, fixed_rows=rows, step=step, memory=memory)
        self.max_batch, self.upscalers = max_batch, upscalers
        self.refiner: Refiner | None = None
        self.rescue_folder = as_path(rescue_folder) if rescue_folder else None

    @torch.no_grad()
    @own_arithmetic()
    def __call__(
        self,
        request: Asked | Sequence[Asked] | None = None,
        *,
        on_event: OnEvent | None = None,
        on_step: OnStep | None = None,
        latents: Tensor | NDArray[Any] | None = None,
        output: Output = "pil",
        save_to: str | Path | ClipPlace | None = None,
        **fields: Any,
    ) -> GenerationResult:
        """Make every picture of a prompt or of several, with ``fields`` of ``GenerationRequest``, or of requests.

        Args:
            request: what to make; ``prompt=`` says it too.
            on_event: told about steps, pictures and notices; an exception that it raises ends the call.
            on_step: called as ``on_step(index, latent)`` after every step of every picture: its number from 0, and
                the clean latent ``(1, C, h, w)`` that it implies; what it raises ends the call.
            latents: initial noise ``(N, C, h, w)`` of all N pictures, instead of what their seeds give.
            output: "pil" for pictures, "np" for arrays ``(H, W, 3)`` in [0, 1], "tensor" for float pixels (rounded
                where they are enlarged), "latent" to leave out the decoding.
            save_to: of clips: a file or folder, as ``save`` takes it, that frames are written to while later ones are
                decoded; none is kept, so that memory does not grow with the clip.
            fields: of ``GenerationRequest``, the same for every prompt; or ``generator``, of torch, instead of a seed:
                its own seed as long as it is unused, then what is drawn from it.

        Raises:
            RequestError: a request that cannot be done, before any work.
            DownloadError: the upscaler that a request needs could not be fetched, before any work.
            DecodeMemoryError: a picture does not fit into memory; its latent was saved.
        """
        check_output(output)
        check_listeners(on_event=on_event, on_step=on_step)
        tell: OnEvent = on_event or (lambda event: None)
        requests = as_requests(request, fields, VideoRequest if self.makes_clips else None)
        plans = self.plan(requests)
        decoded = output == "pil"
        place = streamed_to(save_to, num_clips=len(plans), decoded=decoded, clips=self.makes_clips)
        if output != "latent":
            self.prepare_upscaling(plans)
        noises = self.noises(plans, latents)
        for notice in self.notices(requests, plans):
            tell(notice)
        model = Meanwhile(self._named)  # the weights may be read once more, for their hash
        given = [None if latents is None else hash_latent(noise) for noise in noises]
        jobs = self.jobs(plans, noises)
        images: dict[int, GeneratedImage] = {}
        listened = on_event is not None or on_step is not None
        steps = StepsTold(len(plans), 0 if self.refiner is None else self.refiner.num_steps)

        def told(done: StepDone) -> None:
            tell(done)
            if on_step is not None:
                on_step(done.index, done.latent)

        def refining(image_index: int, step: int, latent: Tensor) -> None:
            told(steps.done_behind(image_index, step, plans[image_index].solver.num_steps, latent))

        def keep(done: Iterator[tuple[int, GeneratedImage]]) -> None:
            for index, image in done:
                images[index] = image
                tell(ImageDone(image=image, image_index=index, num_images=len(plans)))
                if len(images) < len(plans):
                    self.need_transformer()

        beside = self.device if output != "latent" and self._has_room_beside(plans) else None
        with Decodings(partial(self.decode, output=output, save_to=place), beside=beside) as decodings:
            for event in denoise(self.denoiser(), jobs):
                match event:
                    case StepTaken(key=index) if listened and (done := steps.done(index, event, plans[index].start)):
                        told(done)
                    case Finished(key=index, latent=latent):
                        record = self.record_of(plans[index], model.result(), given[index])
                        finished = SavedLatent(latent=latent, record=record)
                        latent = self._refined(finished, plans[index], partial(refining, index))
                        decodings.add(index, replace(finished, latent=latent.cpu()))
                keep(decodings.ready())
            keep(decodings.ready(wait=True))
        return GenerationResult(images=[images[index] for index in range(len(plans))])

    @torch.no_grad()
    @own_arithmetic()
    def decode(
        self, finished: SavedLatent, *, output: Output = "pil", save_to: str | Path | ClipPlace | None = None
    ) -> GeneratedImage:
        """Latent to picture: decode, resize and crop to the size that was asked for, round to 8 bits; enlarge that
        where the request says so. A clip is written to ``save_to`` meanwhile, as by the call.

        Raises:
            DecodeMemoryError: it does not fit into memory; the latent was saved.
            OutputError: the clip could not be written; the latent was saved.
            DownloadError: the upscaler could not be fetched.
            PictureError: there are steps left to do.
            RequestError: the picture that was edited is not here.
        """
        record, latent = finished.record, finished.latent
        clips, decoded = isinstance(record.request, VideoRequest), output == "pil"
        place = streamed_to(save_to, num_clips=1, decoded=decoded, clips=clips)
        if finished.index is not None:
            raise PictureError(f"this latent is unfinished: step {finished.index} of its picture is still to be done")
        _refuse_nan(latent, "latent")
        if output == "latent":
            kind = GeneratedClip if clips else GeneratedImage
            return kind(record=record, latent=latent)
        if clips:
            with rescued(finished, self.rescue_folder) as rescue:
                self.bundle.need("autoencoder")
                autoencoder: Any = self.bundle.autoencoder
                options = record.model.options
                kept = partial(_kept, rescue, options)
                return decode_clip(autoencoder, finished, output, kept, self.free_memory, place)
        canvas = canvas_of(record.request)
        if canvas is not None and canvas.keeps:
            canvas.check_here()
        self.bundle.need("autoencoder")
        with rescued(finished, self.rescue_folder) as rescue:
            save = partial(_kept, rescue, record.model.options)
            free = self._free_for(canvas)
            wrapped = wrap(latent, DECODED if record.request.seamless else 0)
            pixels = decode_latent(self.bundle.autoencoder, wrapped, save_latent=save, free_memory=free)
            pixels = middle(pixels, latent.shape[-2:], self.bundle.autoencoder.config.compression)
            _refuse_nan(pixels, "picture")
            pixels = self._in_place(pixels, record.request)[0]
            if output != "pil" and record.request.upscale == 1:
                return as_output(output, pixels, record, latent)
            image = to_image(pixels)
            if record.request.upscale > 1:
                upscaler = self.upscalers(record.request.upscale, self.device)
                image, record = enlarge(upscaler, image, save), upscaled_record(record, upscaler)
        if output != "pil":
            return as_output(output, to_signed([np.asarray(image)])[0], record, latent)
        record = record.model_copy(update={"image": describe_image(image)})
        return GeneratedImage(record=record, latent=latent, image=image)

    def _in_place(self, pixels: Tensor, request: GenerationRequest) -> Tensor:
        """``(1, 3, H, W)`` as generated, to the size that was asked for, and into the picture that is edited."""
        canvas = canvas_of(request)
        if canvas is None:
            return resize_and_crop(pixels, request.height, request.width)
        size = (canvas.height, canvas.width)
        if canvas.edit.factor > 1:
            return pixels[..., : canvas.height, : canvas.width]
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        return canvas.blended(pixels[0])[None] if canvas.keeps else pixels

    def refine_with(self, source: str | Path | OpenedRefiner | None) -> TextToImagePipeline:
        """Have finished clips gone over by a refiner, or with None by none; returns the pipeline itself.

        Args:
            source: a folder or hub id of LTX-2 (diffusers), with its text encoder. Its networks have the dtypes and the
                schemes of the model's, and take turns in memory with them or stay beside them.

        Raises:
            RequestError: the model makes pictures, or clips of another autoencoder.
            CheckpointError: the source holds no refiner, or a damaged one.
        """
        opened = source if source is None or isinstance(source, OpenedRefiner) else open_refiner(source)
        if opened is not None:
            check_refiner(opened, self.bundle.autoencoder)
        if self.refiner is not None:
            self.refiner, self.bundle = None, self.bundle.with_beside({})
        if opened is not None:
            self.refiner = self._refiner(opened)
        return self

    def _refiner(self, opened: OpenedRefiner) -> Refiner:
        own, device = self.bundle, self.device
        dtypes = {name: own.components[name].compute_dtype for name in set(FOLLOWS.values())}
        schemes = {name: scheme_named(scheme) for name, scheme in own.quantized.items()}
        own.rest()
        refiner = opened.load(device=device, dtypes=dtypes, schemes=schemes, in_turns=bool(own.readers))
        self.bundle = own.with_beside(refiner.networks, refiner.readers)
        autoencoder: Any = own.autoencoder
        return Refiner(refiner, autoencoder, need=self.bundle.need)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> TextToImagePipeline:
        """Move all networks; returns the pipeline itself.

        Raises:
            RequestError: there is no such device here, or it is a dtype, which is chosen as a model is loaded.
        """
        if isinstance(device, torch.dtype) or dtype is not None:
            raise RequestError("a dtype is chosen as the model is loaded: sanakit.load(..., dtype=...), not by to()")
        name = resolve_device(device)
        if self._step is not None:
            check_compiler(name)
        for part in (*self.bundle.components.values(), *self.bundle.beside.values()):
            part.to(name)
        self._adapters.clear()
        self._controls.clear()
        self._control_latents.clear()
        self._step = None if self._step is None else CompiledStep(self.bundle.transformer)  # which knew the old place
        return self

    def denoiser(self) -> Denoiser[Any]:
        """What pictures of this pipeline join and leave; such that are larger than it makes by itself go in tiles."""
        transformer = self.bundle.transformer
        rows = 2 * self.max_batch
        if self.makes_clips:
            return Denoiser(transformer, max_rows=rows, fixed_rows=self.fixed_rows, step=self._step)
        tile = self.bundle.card.defaults.base_size // self.bundle.autoencoder.config.compression
        step = TiledStep(self._step or transformer, tile=tile, largest=LARGEST * tile)
        return Denoiser(transformer, max_rows=rows, fixed_rows=self.fixed_rows, step=step)

    def notices(self, requests: Sequence[GenerationRequest], plans: Sequence[PicturePlan]) -> Iterator[Notice]:
        """What there is to say of requests and their plans before any work."""
        yield from notices_about(requests, self.bundle.text_encoder)
        if self.reader is not None:
            yield from notices_about_words(requests, self.reader, self.bundle.card.name)
        uses = [use for each in requests for use in each.adapters]
        config, compiled = self.bundle.transformer.config, self._step is not None
        yield from map(Notice, check_adapters(uses, config, compile=compiled))
        controls = [use for plan in plans for use in plan.request.controls]
        yield from map(Notice, dict.fromkeys(check_controls(controls, config, None, compile=compiled)))
        yield from notices_about_model(self.bundle)
        yield from notices_about_sources(plans)

    def record_of(self, plan: PicturePlan, model: ModelReference, latents: str | None = None) -> PictureRecord:
        """How the picture of a plan is made here and now; ``latents`` is the hash of noise that was given for it."""
        needed = {
            READING: plan.read_as,
            LATENTS: latents,
            QUANTIZED: model.quantized or None,
            REUSE: plan.request.reuse or None,
            EDIT: plan.request.edit,
            SEAMLESS: plan.request.seamless or None,
            ADAPTERS: plan.request.adapters or None,
            CONTROLS: plan.request.controls or None,
            CLIP: plan.num_frames,
            REFINED: self.refiner,
        }
        return PictureRecord(
            request=plan.request,
            model=model,
            device=self.device.type,
            versions=software_versions(*self.bundle.text_encoder.libraries),
            threads=torch.get_num_threads(),
            arithmetic=self._arithmetic(),
            rows_per_call=self.fixed_rows,
            read_as=plan.read_as,
            latents=latents,
            refiner=None if self.refiner is None else self.refiner.reference,
            needs=tuple(name for name, value in needed.items() if value is not None),
        )

    def _arithmetic(self) -> dict[str, str]:
        attention = {"attention of the text encoder": self.bundle.text_encoder.attention}
        products = {"int8 products": products_on(self.device.type)} if self.bundle.rounds_activations else {}
        step = {"denoising step": "compiled"} if self._step else {}
        return {**arithmetic_facts(self.device), **attention, **products, **step}

    def _named(self) -> ModelReference:
        """The model as records name it; that of the refiner is known as soon."""
        named, _ = model_reference(self.bundle), self.refiner and self.refiner.reference
        return named

    def _refined(self, finished: SavedLatent, plan: PicturePlan, on_step: OnRefined) -> Tensor:
        """The latent, gone over where there is a refiner; ``finished`` has the record of that."""
        if self.refiner is None:
            return finished.latent
        needs = tuple(name for name in finished.record.needs if name != REFINED)
        record = finished.record.model_copy(update={"refiner": None, "needs": needs})
        plain = replace(finished, record=record)
        _refuse_nan(plain.latent, "latent")
        with rescued(plain, self.rescue_folder) as rescue:
            prompt, save = plan.read_as or plan.request.prompt, partial(_kept, rescue, record.model.options)
            return refined_or_kept(self.refiner, plain, prompt, on_step, save)

    def _has_room_beside(self, plans: Sequence[PicturePlan]) -> bool:
        """Whether a decoding may run while others are denoised: on a GPU with so much free memory that no picture is
        divided for that."""
        if self.device.type != "cuda" or len(plans) < 2 or plans[0].num_frames is not None:
            return False
        need = max(self.bundle.autoencoder.config.decode_bytes(*plan.generated) for plan in plans)
        return need <= TIGHT_SHARE * (self.free_memory(self.device) or 0)

    def prepare_upscaling(self, plans: Sequence[PicturePlan]) -> None:
        """What may have to be fetched is fetched before any work."""
        for scale in {plan.request.upscale for plan in plans} - {1}:
            self.upscalers(scale, self.device)


def model_reference(bundle: ModelBundle) -> ModelReference:
    """The model as records name it; may read its weights once, for their hash.

    One whose files are gone or damaged since they were loaded is named as it is in memory: no picture is lost for that.
    """
    changed = bundle.has_changed
    try:
        model_hash = combined_hash(bundle.hash_memory()) if changed else bundle.model_hash
    except (OSError, CheckpointError) as error:
        logger.warning("the files of %s cannot be read for their hash (%s)", bundle.card.name, error)
        changed, model_hash = True, combined_hash(bundle.hash_memory())
    origin = bundle.parts.origin if bundle.parts and not changed else Origin("memory", bundle.card.name)
    return ModelReference(
        name=bundle.card.name,
        source=origin.name,
        kind=origin.kind,
        hash=model_hash,
        settings=bundle.settings_hash,
        dtypes=bundle.precisions,
        variant=bundle.parts.variant if bundle.parts else None,
        revision=bundle.parts.revision if bundle.parts else None,
        commits=bundle.parts.commits if bundle.parts and not changed else {},
        replaced=bundle.parts.replaced if bundle.parts else {},
        quantized=bundle.quantized,
    )


def _kept(rescue: Callable[[], Path], options: str) -> str:
    """What `sanakit decode` is to be told."""
    return f"{rescue()}{options}"


def _refuse_nan(values: Tensor, what: str) -> None:
    if not values.isfinite().all():
        raise SanakitError(
            f"the {what} holds values that are not numbers; this happens when a model runs in a dtype that it was "
            f"not made for, or with extreme guidance, so try float32 or a lower guidance_scale."
        )
