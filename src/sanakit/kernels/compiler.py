"""Whether torch can compile here."""

from __future__ import annotations

import warnings
from contextlib import suppress
from importlib import import_module

import torch
from torch import Tensor

from sanakit.common.errors import first_line


def compiler_problem(device: str) -> str:
    """Why nothing can be compiled for a device, in words; "" if it can, which some seconds of compiling show."""
    with suppress(ImportError, AssertionError):  # the second: distutils is loaded already, and from elsewhere
        import_module("setuptools")  # before distutils, which the compiler imports: setuptools refuses to come after it
    try:
        from torch._inductor import config, cpp_builder

        if torch.device(device).type == "cpu":
            cpp_builder.get_cpp_compiler()
        with warnings.catch_warnings(), config.patch(force_disable_caches=True):  # earlier work tells nothing of today
            warnings.simplefilter("ignore")
            torch.compile(_trial)(torch.ones(8, device=device))
    except (RuntimeError, ImportError, OSError, AttributeError, AssertionError) as error:  # of any part of the compiler
        return first_line(error).removesuffix(":")
    return ""


def _trial(x: Tensor) -> Tensor:
    return x.sin() * 2 + 1
