"""The native library: the one that is built already, else one built for these tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sanakit.kernels import (
    conv3x3,
    cross_attention,
    dit_block,
    int8_linear,
    linear,
    linear_attention,
    mix_ffn,
    modulated_norm,
    newton_schulz,
    pixel_norm,
)
from sanakit.kernels.native import library, memory
from sanakit.kernels.native.build import LIBRARY, BuildError, build
from sanakit.kernels.native.library import NativeLibrary, NativeLibraryError, open_library


@pytest.fixture(scope="session")
def built_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        open_library()
    except NativeLibraryError:
        try:
            return build(tmp_path_factory.mktemp("native"))
        except BuildError as error:
            pytest.skip(str(error))
    return LIBRARY


@pytest.fixture(params=["avx512", "avx2", "portable"])
def variant(request: pytest.FixtureRequest, built_library: Path) -> NativeLibrary:
    """Every instruction set that this processor runs."""
    opened = open_library(built_library)
    if request.param not in opened.variants:
        pytest.skip(f"this processor does not run {request.param}")
    return replace(opened, variant=request.param)


@pytest.fixture
def native_everywhere(variant: NativeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """This instruction set, in every kernel, whatever the environment says."""
    tokens = (cross_attention, dit_block, int8_linear, linear, linear_attention, mix_ffn, modulated_norm)
    for module in (library, memory, *(each.native for each in (*tokens, conv3x3, newton_schulz, pixel_norm))):
        monkeypatch.setattr(module, "native_library", lambda: variant)


@pytest.fixture
def lent_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets torch's number; native kernels take as many for the least work too."""
    monkeypatch.setattr(library, "_SHARE", 1)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
