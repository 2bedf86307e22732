"""Pictures decoded one by one; on a GPU while the next ones are denoised, in a thread and on a stream of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Generic, TypeVar

import torch

FinishedT = TypeVar("FinishedT")
ImageT = TypeVar("ImageT")


class Decodings(Generic[FinishedT, ImageT]):
    """What ``decode`` makes of finished latents, by number, in the order in which they came.

    Args:
        decode: from a latent in the memory of the CPU to a picture there, so that no stream waits for another.
        beside: the device on a stream of which it runs in a thread; None for at once.
    """

    def __init__(self, decode: Callable[[FinishedT], ImageT], *, beside: torch.device | None) -> None:
        self._decode = decode
        self._thread = ThreadPoolExecutor(max_workers=1) if beside is not None else None
        self._stream = torch.cuda.Stream(beside) if beside is not None and beside.type == "cuda" else None
        self._coming: deque[tuple[int, Future[ImageT]]] = deque()

    def __enter__(self) -> Decodings[FinishedT, ImageT]:
        return self

    def __exit__(self, *_: object) -> None:
        """What has not begun is given up."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def add(self, index: int, finished: FinishedT) -> None:
        """Raises what decoding raises where it is done at once."""
        if self._thread is not None:
            self._coming.append((index, self._thread.submit(self._run, finished)))
            return
        done: Future[ImageT] = Future()
        done.set_result(self._run(finished))
        self._coming.append((index, done))

    def ready(self, *, wait: bool = False) -> Iterator[tuple[int, ImageT]]:
        """Those that are done, or with ``wait`` all; raises what decoding them raised."""
        while self._coming and (wait or self._coming[0][1].done()):
            index, future = self._coming.popleft()
            yield index, future.result()

    def _run(self, finished: FinishedT) -> ImageT:
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            return self._decode(finished)
