"""A lane: one process that denoises pictures which come and go, and tells how far they are."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from PIL import Image

from sanakit.common.errors import DecodeMemoryError, RequestError, SanakitError
from sanakit.common.free_memory import is_out_of_memory
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.place import choose_clip_place
from sanakit.pipelines.decoding.previews import Projection
from sanakit.pipelines.denoise import Finished, PictureJob, StepTaken
from sanakit.pipelines.jobs import picture_job
from sanakit.pipelines.latent_file import SavedLatent, load_latent, save_latent
from sanakit.pipelines.picture_file import check_format, encode_image
from sanakit.pipelines.plan import PicturePlan
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.request import VideoRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline, model_reference
from sanakit.sampling.evaluation import Evaluation
from sanakit.serving.messages import (
    Add,
    Done,
    Failed,
    FileForm,
    FromLane,
    Gone,
    Reason,
    Remove,
    Returned,
    Step,
    Stop,
    ToLane,
    Told,
    Work,
)
from sanakit.serving.turns import Turns

logger = logging.getLogger(__name__)

SAVE_EVERY = 2.0  # seconds between two latents of a picture that are kept
SAVE_SHARE = 20.0  # and so many times what keeping one took, as over a network


@dataclass(kw_only=True, eq=False)
class _Running:
    work: Work
    plan: PicturePlan
    record: PictureRecord
    wish: Evaluation | None = None  # the last that was not answered
    save_at: float = field(default_factory=lambda: time.monotonic() + SAVE_EVERY)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def can_go_on(self) -> bool:
        """From a latent: steps of an edit that are taken back have no number of their own, and a clip's first frame is
        encoded once more."""
        edit = self.plan.request.edit
        begins_anew = self.plan.keeps_first_frame or (edit is not None and edit.changes_parts)
        return self.work.latent is not None and not begins_anew


class Lane:
    """Pictures on their way, in turn by size; what comes in through ``connection`` is obeyed between two steps.

    Args:
        pipeline: of this process; its CPU threads are those that records tell.
        previews: how a latent becomes a small picture; None for no previews.
        beside: prepare and decode in a thread beside the steps, as it pays on an accelerator.
    """

    def __init__(
        self,
        pipeline: TextToImagePipeline,
        connection: Connection,
        previews: Projection | None,
        *,
        beside: bool = False,
    ) -> None:
        self.pipeline, self.previews, self._connection = pipeline, previews, connection
        self._denoiser = pipeline.denoiser()
        self._model = model_reference(pipeline.bundle)
        self._running: dict[str, _Running] = {}
        self._turns = Turns()
        self._thread = ThreadPoolExecutor(1) if beside else None
        self._coming: dict[str, tuple[Future[None], Callable[[], None]]] = {}

    @torch.no_grad()
    @own_arithmetic()
    def run(self) -> None:
        """Until it is told to end, or nobody is there to tell it."""
        try:
            while all(map(self._obey, self._received())):
                self._finish_coming()
                if len(self._denoiser):
                    self._step()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            logger.info("the server is gone; its lane ends")
        finally:
            if self._thread is not None:
                self._thread.shutdown(cancel_futures=True)

    def _received(self) -> Iterator[ToLane]:
        """All that has come; where there is nothing else to do, waits for it."""
        patience = 0.0 if len(self._denoiser) else 0.01 if self._coming else None
        while self._connection.poll(patience):
            yield self._connection.recv()
            patience = 0.0

    def _obey(self, message: ToLane) -> bool:
        match message:
            case Add(work):
                self._add(work)
            case Remove(key, hand_back) if key in self._running:
                if hand_back:
                    self._hand_back(key)
                else:
                    self._forget(key)
                    self._tell(Gone(key))
            case Stop():
                return False
        return True

    def _tell(self, message: FromLane) -> None:
        self._connection.send(message)

    def _add(self, work: Work) -> None:
        with self._blaming(work.key):
            pipeline = self.pipeline
            (plan,) = pipeline.plan([work.request])
            pipeline.prepare_upscaling([plan])
            for notice in pipeline.notices([work.request], [plan]):
                self._tell(Told(work.key, notice.message))
            running = _Running(work=work, plan=plan, record=pipeline.record_of(plan, self._model))
            self._running[work.key] = running
            jobs: list[PictureJob] = []
            self._beside(work.key, lambda: jobs.append(self._job(running)), lambda: self._join(running, jobs[0]))

    def _job(self, running: _Running) -> PictureJob:
        start = time.perf_counter()
        pipeline, plan, saved = self.pipeline, running.plan, self._saved(running)
        if saved is None or saved.index is None:
            (job,) = pipeline.jobs([plan])
        else:
            latent = saved.latent.to(pipeline.device)
            previous = None if saved.previous is None else saved.previous.to(pipeline.device)
            job = picture_job(plan, latent, pipeline.prepare, start=saved.index, previous=previous, known=saved.known)
        running.seconds["encode"] = time.perf_counter() - start
        return job

    def _join(self, running: _Running, job: PictureJob) -> None:
        work = running.work
        if self._running.get(work.key) is running:
            self._denoiser.add(work.key, job)
            self._turns.join(work.key, (running.plan.generated, running.plan.num_frames), work.priority)

    def _saved(self, running: _Running) -> SavedLatent | None:
        """Of an earlier process, if the same picture comes of it here."""
        kept = running.work.latent
        if kept is None or not running.can_go_on:
            return None
        try:
            with kept.place.reading(kept.name) as path:
                saved = None if path is None else load_latent(path)
        except SanakitError as error:
            logger.warning("%s begins anew: %s", running.work.key, error)
            return None
        return saved if saved is not None and saved.record == running.record else None

    def _step(self) -> None:
        first = self._turns.first()
        start, company = time.perf_counter(), 0
        with self._blaming(first):
            for event in self._denoiser.round(first):
                company += 1
                match event:
                    case StepTaken(key=key):
                        self._tell_step(event, time.perf_counter() - start)
                    case Finished(key=key, latent=latent):
                        self._finish(self._running[key], latent)
        self._turns.took(first, time.perf_counter() - start)

    def _tell_step(self, taken: StepTaken[str], seconds: float) -> None:
        running, step = self._running[taken.key], taken.evaluation
        work, index = running.work, step.index - running.plan.start
        running.wish = step
        running.seconds["denoise"] = running.seconds.get("denoise", 0.0) + seconds
        previews = self.previews if work.shows(index) else None
        preview = None if previews is None else self._preview(previews, running, taken)
        self._tell(Step(work.key, index, step.total - running.plan.start, seconds, preview))
        if time.monotonic() > running.save_at:
            self._save(running)

    def _preview(self, previews: Projection, running: _Running, taken: StepTaken[str]) -> bytes:
        request, latent = running.plan.request, taken.denoised
        height, width = request.height or 0, request.width or 0
        if isinstance(request, VideoRequest):
            fps = (request.fps or 1) * latent.shape[2] / (request.num_frames or 1)
            return previews.clip(latent, height, width, fps)
        small = previews.picture(latent, height, width)
        return encode(small, None, replace(running.work.form, quality=None))

    def _save(self, running: _Running) -> None:
        """The step that is being done is done once more by whoever goes on from there."""
        wish, kept, start = running.wish, running.work.latent, time.monotonic()
        running.save_at = start + SAVE_EVERY
        if wish is None or kept is None or not running.can_go_on:
            return
        saved = SavedLatent(
            latent=wish.latent, record=running.record, index=wish.index, previous=wish.previous, known=wish.known
        )
        try:
            with kept.place.writing(kept.name) as path:
                save_latent(path, saved)
        except SanakitError as error:  # a full disk costs time after a crash, and no picture
            logger.warning("%s", error)
        running.save_at += SAVE_SHARE * (time.monotonic() - start)

    def _finish(self, running: _Running, latent: torch.Tensor) -> None:
        self._turns.leave(running.work.key)
        finished = SavedLatent(latent=latent.cpu(), record=running.record)
        self._beside(
            running.work.key, partial(self._decode, running, finished), partial(self._forget, running.work.key)
        )

    def _decode(self, running: _Running, finished: SavedLatent) -> None:
        start, form = time.perf_counter(), running.work.form
        if running.plan.num_frames is not None:
            content, made = decode_into_file(self.pipeline, finished, form)
            decoded = time.perf_counter()
        else:
            image = self.pipeline.decode(finished)
            decoded, made = time.perf_counter(), image.record
            content = encode(image.picture, made if form.metadata else None, form)
        running.seconds |= {"decode": decoded - start, "save": time.perf_counter() - decoded}
        if running.work.key in self._running:
            assert made.image is not None
            size = made.image.width, made.image.height
            self._tell(Done(running.work.key, content, made.to_json(), size, running.seconds))

    def _beside(self, key: str, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Do it at once, or in the thread, and ``then`` here."""
        if self._thread is None:
            work()
            then()
            return
        self._coming[key] = self._thread.submit(torch.no_grad()(own_arithmetic()(work))), then

    def _finish_coming(self) -> None:
        for key in [key for key, (future, _) in self._coming.items() if future.done()]:
            future, then = self._coming.pop(key)
            with self._blaming(key):
                future.result()
                then()

    def _hand_back(self, key: str, *, lack: bool = False) -> None:
        self._save(self._running[key])
        self._forget(key)
        self._tell(Returned(key, lack))

    def _forget(self, key: str) -> None:
        self._running.pop(key, None)
        self._coming.pop(key, None)
        self._turns.leave(key)
        self._denoiser.remove(key)

    @contextmanager
    def _blaming(self, key: str) -> Iterator[None]:
        """What fails within is the failure of one picture; where memory runs out, the others leave first."""
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            lack = is_out_of_memory(error) or isinstance(error, DecodeMemoryError)
            if lack and torch.cuda.is_available():
                torch.cuda.empty_cache()
            if lack and len(self._running) > 1:
                for other in [other for other in self._running if other != key]:
                    self._hand_back(other, lack=True)
                if self._turns.has(key):
                    return  # and tries again, alone
                self._hand_back(key, lack=True)
                return
            self._forget(key)
            self._tell(_failed(key, error, lack))


def encode(picture: Image.Image, record: PictureRecord | None, form: FileForm) -> bytes:
    """The file of a picture."""
    assert form.format in ("png", "jpeg", "webp")
    check_format(picture, form.format)
    if form.quality is None:
        return encode_image(picture, record, form.format)
    return encode_image(picture, record, form.format, quality=form.quality)


def decode_into_file(
    pipeline: TextToImagePipeline, finished: SavedLatent, form: FileForm
) -> tuple[bytes, PictureRecord]:
    """The file of a clip, which is written while frames are decoded, and its record."""
    with tempfile.TemporaryDirectory() as folder:
        place = choose_clip_place(Path(folder) / f"clip.{form.format}")
        clip = pipeline.decode(finished, save_to=replace(place, with_record=form.metadata))
        assert isinstance(clip, GeneratedClip)
        assert clip.file is not None
        return clip.file.read_bytes(), clip.record


def _failed(key: str, error: Exception, lack: bool) -> Failed:
    reason: Reason = "memory" if lack else "request" if isinstance(error, RequestError) else "failed"
    if isinstance(error, SanakitError):
        return Failed(key, reason, str(error))
    if lack:
        return Failed(key, reason, "there is not enough free memory for this picture; ask for a smaller one")
    logger.exception("picture %s failed", key)
    return Failed(key, reason, f"an unexpected {type(error).__name__} while the picture was made")
