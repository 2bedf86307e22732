"""The best of many pictures of a prompt: candidates advance together, are looked at, and the worse ones leave.

This drives the `Denoiser` as `TextToImagePipeline` does; whatever makes many pictures of a prompt to keep few goes this
way. A candidate is the same to the bit as the picture of its seed alone, so its record makes it again without the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.pipelines.best_of.contest import Contest
from sanakit.pipelines.best_of.judging import Judge, Jury, is_number, name_of
from sanakit.pipelines.best_of.ranking import Score, better_half, values_of, winners
from sanakit.pipelines.best_of.settings import BestOf
from sanakit.pipelines.denoise import Denoiser, Finished, Paused, PictureJob, StepTaken, advance
from sanakit.pipelines.events import ImageDone, Judged, Notice, OnEvent, StepsTold, check_listeners
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.request import Asked, as_requests
from sanakit.pipelines.result import GeneratedImage, GenerationResult
from sanakit.pipelines.text_to_image import TextToImagePipeline, model_reference

Joining = Iterable[tuple[int, PictureJob | Paused[int]]]


@torch.no_grad()
@own_arithmetic()
def best_of(
    pipeline: TextToImagePipeline,
    request: Asked | Sequence[Asked],
    settings: BestOf,
    judges: Sequence[Judge],
    *,
    on_event: OnEvent | None = None,
    finished: Callable[[Contest], Collection[int]] = lambda contest: (),
    **fields: Any,
) -> GenerationResult:
    """The best pictures of a prompt or of several, ``settings.keep`` of each, in the order of their places.

    Args:
        request: what to make, as the pipeline takes it, with ``fields`` of ``GenerationRequest``.
        judges: functions of pictures and texts, see `Judge`; with several, their ranks count by their weights.
        on_event: told about steps of all candidates, what judges left of them, finished pictures and notices.
        finished: places of a prompt's winners that are there already; these are not in the result.

    Raises:
        RequestError: a request that cannot be done or judged, before any work.
        SanakitError: a judge fails.
    """
    check_listeners(on_event=on_event)
    tell: OnEvent = on_event or (lambda event: None)
    requests, jury = as_requests(request, fields), Jury(judges, settings.weights)
    if one := next((each for each in requests if each.num_images > 1), None):
        raise RequestError(f"num_images={one.num_images} has no meaning beside best_of; say how many to keep")
    plans = pipeline.plan(requests)
    for plan in plans:
        jury.check(plan.told)
    pipeline.prepare_upscaling(plans)
    for notice in pipeline.notices(requests, plans):
        tell(notice)
    model = model_reference(pipeline.bundle)
    contests = [
        Contest(settings=settings, jury=jury, plan=plan, record=pipeline.record_of(plan, model)) for plan in plans
    ]
    if settings.dropping and any(not contest.stages for contest in contests):
        tell(Notice("nobody is dropped early: there are too few steps or candidates for that."))
    there = [set(finished(contest)) for contest in contests]
    left = [pair for pair in zip(contests, there, strict=True) if len(pair[1]) < settings.keep]
    if done := len(contests) - len(left):
        tell(Notice(f"{done} of {len(contests)} prompts are finished already and not made again."))
    images: list[GeneratedImage] = []
    steps = StepsTold(len(left) * settings.num)
    for index, (contest, places) in enumerate(left):
        tell_step = partial(_tell_step, tell, steps, contest.plan.start, index * settings.num)
        for place, image in _Race(pipeline, contest, tell, tell_step).winners():
            if place not in places:
                images.append(image)
                number, total = index * settings.keep + place, len(left) * settings.keep
                tell(ImageDone(image=image, image_index=number, num_images=total))
    return GenerationResult(images=images)


def _tell_step(tell: OnEvent, steps: StepsTold, begun: int, first: int, taken: StepTaken[int]) -> None:
    if done := steps.done(first + taken.key, taken, begun):
        tell(done)


class _Race:
    """The candidates of one prompt on their way.

    Attributes:
        latents: of those that are not dropped, as far as they are: the clean latent that the last step implies.
        said: of each candidate what each judge said the last time.
        dropped: after how many steps, of those that were.
    """

    def __init__(
        self,
        pipeline: TextToImagePipeline,
        contest: Contest,
        tell: OnEvent,
        tell_step: Callable[[StepTaken[int]], None],
    ) -> None:
        self.pipeline, self.contest, self.tell, self.tell_step = pipeline, contest, tell, tell_step
        self.plans = contest.plans
        self.latents: dict[int, Tensor] = {}
        self.said: dict[int, Sequence[Score]] = {}
        self.dropped: dict[int, int] = {}

    def winners(self) -> Iterator[tuple[int, GeneratedImage]]:
        """Places and pictures of those that stay to the end."""
        contest, settings, denoiser = self.contest, self.contest.settings, self.pipeline.denoiser()
        joining: Joining = enumerate(self.pipeline.jobs(self.plans))
        for stage in contest.stages:
            paused = self._advance(denoiser, joining, stage)
            stay = better_half(self._values(), settings.groups, settings.stay)
            leaving = set(self.latents) - set(stay)
            self.dropped |= dict.fromkeys(leaving, stage - contest.plan.start)
            self.latents = {number: self.latents[number] for number in stay}
            self.tell(Judged(stage - contest.plan.start, contest.num_steps, len(stay), len(leaving)))
            joining = [(number, paused[number]) for number in stay if number in paused]
            self.pipeline.need_transformer()
        self._advance(denoiser, joining, None)
        for place, number in enumerate(winners(self._values(), settings.groups, settings.stay)):
            choice = contest.choice(place, self.said, self.dropped)
            yield place, self._decode(number, choice=choice, request=self.plans[number].request)

    def _advance(self, denoiser: Denoiser[int], joining: Joining, until: int | None) -> dict[int, Paused[int]]:
        """Let candidates run to a step, or to their end; gives those that may go on from there."""
        paused: dict[int, Paused[int]] = {}
        for event in advance(denoiser, joining, until=until):
            match event:
                case StepTaken():
                    self.tell_step(event)
                    self.latents[event.key] = event.denoised
                case Finished():
                    self.latents[event.key] = event.latent
                case Paused():
                    paused[event.key] = event
        return paused

    def _values(self) -> dict[int, float]:
        """What the judges find of those that are left, as one value each."""
        jury, text = self.contest.jury, self.contest.plan.told
        scores = jury.scores([partial(self._look, number) for number in self.latents], text)
        for judge, own in zip(jury.judges, scores, strict=True):
            if lacking := len(own) - sum(map(is_number, own)):
                message = f"the judge {name_of(judge)} gave no number for {lacking} of {len(own)} pictures of {text!r}"
                self.tell(Notice(f"{message}; they count as the worst"))
        self.said |= dict(zip(self.latents, zip(*scores, strict=True), strict=True))
        weights = [reference.weight for reference in jury.references]
        return dict(zip(self.latents, values_of(scores, weights), strict=True))

    def _look(self, number: int) -> Image.Image:
        """A candidate as far as it is, not enlarged."""
        request = self.plans[number].request.model_copy(update={"upscale": 1})
        return self._decode(number, request=request).picture

    def _decode(self, number: int, **changed: Any) -> GeneratedImage:
        record = self.contest.record.model_copy(update=changed)
        return self.pipeline.decode(SavedLatent(latent=self.latents[number].cpu(), record=record))
