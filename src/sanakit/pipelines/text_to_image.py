"""The walk of a prompt: text, noise, solver, guidance, network, autoencoder, picture."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import RequestError, SanakitError
from sanakit.common.seeds import draw_noise
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.pipelines.decode import decode_latent
from sanakit.pipelines.denoise import PictureJob, denoise
from sanakit.pipelines.events import ImageDone, OnEvent, StepDone, notices_about, notices_about_model
from sanakit.pipelines.latent_file import SavedLatent, rescued
from sanakit.pipelines.plan import PicturePlan, build_guidance, build_solver, plan_pictures, size_of
from sanakit.pipelines.record import ModelReference, Recipe, describe_image, software_versions
from sanakit.pipelines.request import GenerationRequest, as_requests
from sanakit.pipelines.resolution import resize_and_crop
from sanakit.pipelines.result import GeneratedImage, GenerationResult, to_image
from sanakit.sampling.guidance import Branch
from sanakit.sampling.solvers import Evaluation

Output = Literal["pil", "tensor", "latent"]
Prepare = Callable[[str, bool], Condition]

MAX_BATCH = 8  # pictures denoised together where there is an accelerator
MAX_BATCH_PIXELS = 8 * 1024**2  # of those pictures: at 4K, one tensor of eight guided pictures would take 6 GB


class TextToImagePipeline:
    """Prompt in, picture out.

    On the CPU every picture has its own network calls, so that it is the same to the bit alone and in company; on
    other devices the pictures of a call that have one size are denoised together.

    Args:
        bundle: the model.
        max_batch: how many pictures at most are denoised together on an accelerator; of large ones, fewer are.
        rescue_folder: where a finished latent is kept while its decoding might run out of memory; ``None`` is the
            folder ``sanakit`` in the system's temporary folder.
    """

    def __init__(
        self, bundle: ModelBundle, *, max_batch: int = MAX_BATCH, rescue_folder: str | Path | None = None
    ) -> None:
        self.bundle, self.max_batch = bundle, max_batch
        self.rescue_folder = Path(rescue_folder or Path(tempfile.gettempdir()) / "sanakit")

    @torch.no_grad()
    def __call__(
        self, request: str | GenerationRequest | Sequence[GenerationRequest], *, on_event: OnEvent | None = None,
        latents: Tensor | None = None, output: Output = "pil", **fields: Any,
    ) -> GenerationResult:  # fmt: skip
        """Make every picture of a request, of several, or of a prompt with ``fields`` of ``GenerationRequest``.

        Args:
            request: what to make.
            on_event: told about steps, pictures and notices; an exception that it raises ends the call.
            latents: initial noise ``(N, C, h, w)`` of all N pictures, instead of what their seeds give.
            output: "pil" for pictures, "tensor" for float pixels, "latent" to leave out the decoding.

        Raises:
            RequestError: a request that cannot be done, before any work.
            DecodeMemoryError: a picture does not fit into memory; its latent was saved.
        """
        tell: OnEvent = on_event or (lambda event: None)
        requests = as_requests(request, fields)
        plans = plan_pictures(requests, self.bundle.card, self.granularity)
        noises = self._noises(plans, latents)
        for notice in (*notices_about(requests, self.bundle.text_encoder), *notices_about_model(self.bundle)):
            tell(notice)
        _ = self.bundle.model_hash  # read now, right after the notice, rather than after the first picture's last step
        prepare = lru_cache(maxsize=16)(self._prepare)
        images: list[GeneratedImage] = []
        for group in self._groups(plans):

            def on_step(member: int, step: Evaluation, denoised: Tensor, group: list[int] = group) -> None:
                which = {"image_index": group[member], "num_images": len(plans)}
                tell(StepDone(index=step.index, total=step.total, latent=denoised, **which))

            jobs = [self._job(plans[index].request, noises[index], prepare) for index in group]
            for index, latent in zip(group, denoise(self.bundle.transformer, jobs, on_step), strict=True):
                finished = SavedLatent(latent=latent.cpu(), recipe=self._recipe(plans[index].request))
                images.append(self.decode(finished, output=output))
                tell(ImageDone(image_index=index, num_images=len(plans), image=images[-1]))
        return GenerationResult(images=images)

    @torch.no_grad()
    def decode(self, finished: SavedLatent, *, output: Output = "pil") -> GeneratedImage:
        """Latent to picture: decode, resize and crop to the size that was asked for, round to 8 bits.

        Raises:
            DecodeMemoryError: it does not fit into memory; the latent was saved.
        """
        recipe, latent = finished.recipe, finished.latent
        _refuse_nan(latent, "latent")
        if output == "latent":
            return GeneratedImage(recipe=recipe, latent=latent)
        with rescued(finished, self.rescue_folder) as save:
            pixels = decode_latent(self.bundle.autoencoder, latent, save_latent=save)
        _refuse_nan(pixels, "picture")
        pixels = resize_and_crop(pixels, size_of(recipe.request, self.bundle.card, self.granularity))[0]
        if output == "tensor":
            return GeneratedImage(recipe=recipe, latent=latent, pixels=pixels)
        image = to_image(pixels)
        recipe = recipe.model_copy(update={"image": describe_image(image)})
        return GeneratedImage(recipe=recipe, latent=latent, image=image)

    def to(self, device: torch.device | str) -> TextToImagePipeline:
        """Move all networks; returns the pipeline itself."""
        for part in (self.bundle.transformer, self.bundle.autoencoder, self.bundle.text_encoder):
            part.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.bundle.transformer.patch_embed.weight.device

    @property
    def granularity(self) -> int:
        """Both sides of a generated picture are multiples of this many pixels."""
        return max(self.bundle.autoencoder.config.compression * self.bundle.transformer.config.patch_size, 32)

    def _noises(self, plans: Sequence[PicturePlan], latents: Tensor | None) -> list[Tensor]:
        """Initial noise ``(1, C, h, w)`` float32 of each picture, drawn on the CPU and moved."""
        channels = self.bundle.transformer.config.in_channels
        compression = self.bundle.autoencoder.config.compression
        shapes = [(channels, *(side // compression for side in plan.size.generated)) for plan in plans]
        if latents is None:
            drawn = (draw_noise(shape, plan.request.seed) for shape, plan in zip(shapes, plans, strict=True))
            return [noise[None].to(self.device) for noise in drawn]
        if len(set(shapes)) > 1 or latents.shape != (len(plans), *shapes[0]):
            raise RequestError(
                f"latents of shape {tuple(latents.shape)} do not fit; all pictures must have one size, "
                f"and these need {(len(plans), *shapes[0])}."
            )
        return [noise[None].to(self.device, torch.float32) for noise in latents]

    def _groups(self, plans: Sequence[PicturePlan]) -> Iterator[list[int]]:
        """Pictures that share their network calls."""
        for (height, width), members in groupby(range(len(plans)), key=lambda index: plans[index].size.generated):
            room = 1 if self.device.type == "cpu" else min(self.max_batch, MAX_BATCH_PIXELS // (height * width))
            group, size = list(members), max(room, 1)
            yield from (group[start : start + size] for start in range(0, len(group), size))

    def _job(self, request: GenerationRequest, noise: Tensor, prepare: Prepare) -> PictureJob:
        guidance = build_guidance(request, self.bundle.card)
        conditional = prepare(request.prompt, request.use_instruction)
        conditions: dict[Branch, Condition] = {}
        for branch, what in guidance.inputs().items():
            own = prepare(request.negative_prompt, False) if what.text == "negative" else conditional
            conditions[branch] = own.perturb(what.perturbed_layers) if what.perturbed_layers else own
        return PictureJob(solver=build_solver(request, noise), guidance=guidance, conditions=conditions)

    def _prepare(self, text: str, with_instruction: bool) -> Condition:
        """Everything that depends on one text alone; an unconditional text has no instruction."""
        encoder = self.bundle.text_encoder
        condition = encoder.encode([text])[0] if with_instruction else encoder.encode_null(text)
        embeds, mask = condition.embeds.to(self.device), condition.mask.to(self.device)
        return self.bundle.transformer.prepare(TextCondition(embeds, mask))

    def _recipe(self, request: GenerationRequest) -> Recipe:
        bundle = self.bundle
        dtypes = {
            "transformer": bundle.transformer.patch_embed.weight.dtype,
            "autoencoder": next(bundle.autoencoder.parameters()).dtype,
            "text_encoder": bundle.text_encoder.dtype,
        }
        names = {component: str(dtype).removeprefix("torch.") for component, dtype in dtypes.items()}
        model = ModelReference(
            name=bundle.card.name, source=bundle.card.source, hash=bundle.model_hash, dtypes=names,
            variant=bundle.parts.variant if bundle.parts else None,
            revision=bundle.parts.revision if bundle.parts else None,
        )  # fmt: skip
        return Recipe(request=request, model=model, device=self.device.type, versions=software_versions())


def _refuse_nan(values: Tensor, what: str) -> None:
    if not values.isfinite().all():
        raise SanakitError(
            f"the {what} holds values that are not numbers; this happens when a model runs in a dtype that it was "
            f"not made for, or with extreme guidance, so try float32 or a lower guidance_scale."
        )
