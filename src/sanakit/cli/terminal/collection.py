"""When Python looks for cycles of objects that nobody holds any more."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def collecting_as_before() -> Iterator[None]:
    """Whatever is done within, at its end Python looks for cycles if it did before."""
    enabled = gc.isenabled()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def pause_collection() -> Callable[[], None]:
    """Look for none until the function that this gives is called, and never again in what was made till then.

    For the start of a process: importing torch and reading a model makes hundreds of thousands of objects that stay,
    and Python searches all of them again whenever they are a quarter more, 0.3 s in all. Where torch is there already,
    this does nothing. Who calls it from within `collecting_as_before` need not end it where an error comes between.
    """
    if "torch" in sys.modules or not gc.isenabled():
        return lambda: None
    gc.disable()

    def end() -> None:
        gc.freeze()
        gc.enable()

    return end
