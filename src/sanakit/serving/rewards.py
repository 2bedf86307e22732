"""Rewards over HTTP: pictures and prompts come in, marks go out; who asks at once is looked at together."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from sanakit.common.errors import SanakitError, first_line
from sanakit.common.version import __version__
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.scoring.rewards.panel import Panel
from sanakit.scoring.rewards.remote import PATH
from sanakit.scoring.rewards.reward import Marks
from sanakit.serving.http.access import Guard, Limits

Looked = tuple[Marks, dict[str, Any]]


class Asked(BaseModel):
    """Pictures as base64 of PNG, JPEG or WebP, each with its prompt and what is known of that."""

    pictures: list[str] = Field(min_length=1, max_length=256)
    prompts: list[str]
    metadata: list[dict[str, Any]] = []


class Told(BaseModel):
    """Of each picture its marks by ``reward.part``, null where the prompt does not ask for it, and facts."""

    marks: list[dict[str, float | None]]
    facts: list[dict[str, Any]]


class FullError(Exception):
    """More pictures wait than may."""


@dataclass(slots=True, eq=False)
class _Pile:
    """The pictures of one request."""

    images: Sequence[Image.Image]
    prompts: Sequence[str]
    metadata: Sequence[Mapping[str, Any]]
    done: Future[list[Looked]] = field(default_factory=Future)


class RewardDesk:
    """One thread looks, at the pictures of several requests at once.

    Args:
        batch: pictures that are looked at together.
        max_waiting: pictures that may wait.
    """

    def __init__(self, panel: Panel, *, batch: int = 16, max_waiting: int = 512) -> None:
        self._panel, self._batch, self._max_waiting = panel, batch, max_waiting
        self._piles: list[_Pile] = []
        self._changed, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="rewards", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return sum(len(pile.images) for pile in self._piles)

    def look(
        self, images: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> list[Looked]:
        """Wait for the marks of these.

        Raises:
            FullError: too many wait; a request that is alone is always taken.
            SanakitError: a reward fails.
        """
        pile = _Pile(images, prompts, metadata)
        with self._changed:
            if self._piles and self.waiting + len(images) > self._max_waiting:
                raise FullError
            self._piles.append(pile)
            self._changed.notify()
        return pile.done.result()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        for piles in self._turns():
            try:
                found = self._looked(piles)
            except Exception as error:
                if len(piles) == 1:
                    piles[0].done.set_exception(error)
                else:
                    for pile in piles:  # only those that are at fault are told so
                        self._alone(pile)
                continue
            for pile in piles:
                pile.done.set_result([found.pop(0) for _ in pile.images])

    def _turns(self) -> Iterator[list[_Pile]]:
        """Whose pictures are looked at next, the first ones that fit."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._piles or self._closed)
                if not self._piles:
                    return
                taken = [self._piles.pop(0)]
                while self._piles and sum(len(p.images) for p in (*taken, self._piles[0])) <= self._batch:
                    taken.append(self._piles.pop(0))
            yield taken

    def _alone(self, pile: _Pile) -> None:
        try:
            pile.done.set_result(self._looked([pile]))
        except Exception as error:
            pile.done.set_exception(error)

    def _looked(self, piles: Sequence[_Pile]) -> list[Looked]:
        images = [image for pile in piles for image in pile.images]
        prompts = [prompt for pile in piles for prompt in pile.prompts]
        metadata = [known for pile in piles for known in pile.metadata]
        with torch.no_grad(), own_arithmetic():
            return self._panel.look(images, prompts, metadata, range(len(images)))


def reward_app(desk: RewardDesk, names: Sequence[str], limits: Limits) -> FastAPI:
    """``POST /v1/rewards``, ``GET /health``, and the description of both at ``/openapi.json``."""
    app = FastAPI(title="sanakit rewards", version=__version__, docs_url=None, redoc_url=None)

    @app.post(PATH, response_model=Told)
    def rewards(asked: Asked) -> Any:
        """Marks of pictures. 503 where too many wait: ask again after the seconds of Retry-After."""
        metadata = asked.metadata or [{} for _ in asked.pictures]
        if not len(asked.pictures) == len(asked.prompts) == len(metadata):
            return _error(400, "pictures, prompts and metadata must be as many of each")
        try:
            images = [_decoded(number, text) for number, text in enumerate(asked.pictures)]
            found = desk.look(images, asked.prompts, metadata)
        except FullError:
            return _error(503, "too many pictures wait; ask again", {"Retry-After": "1"})
        except SanakitError as error:
            return _error(400, str(error))
        return Told(marks=[marks for marks, _ in found], facts=[facts for _, facts in found])

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Who looks, and how many pictures wait."""
        return {"status": "ok", "rewards": list(names), "waiting": desk.waiting}

    app.add_middleware(Guard, limits=limits)
    return app


def _decoded(number: int, text: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG", "JPEG", "WEBP"))
        image.load()
    except Exception as error:  # of a picture from anywhere
        raise SanakitError(f"picture {number} cannot be read: {first_line(error)}") from error
    return image


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)
