"""Which kernels PyTorch's attention may take: a setting of the whole process, on which one thread at a time relies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from torch.nn.attention import SDPBackend, sdpa_kernel

_SETTING = RLock()


@contextmanager
def attention_kernels(kernels: list[SDPBackend]) -> Iterator[None]:
    """These alone; other threads that rely on the setting wait."""
    with _SETTING, sdpa_kernel(kernels):
        yield


@contextmanager
def usual_attention_kernels() -> Iterator[None]:
    """Those that the process has outside of ``attention_kernels``, whatever another thread does meanwhile.

    Not to be entered within ``attention_kernels`` of the same thread.
    """
    with _SETTING:
        yield
