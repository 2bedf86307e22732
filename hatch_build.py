"""Builds the native library into wheels and checkouts where there is a C compiler, and goes on without where not."""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "src/sanakit/kernels/native"


class NativeLibraryHook(BuildHookInterface[Any]):
    """A wheel with the library is one for this system, whatever its Python; one without runs anywhere."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        try:
            native = _load(Path(self.root, NATIVE, "build.py"))
            native.build()
        except Exception as error:  # nothing that happens here may end an installation
            self.app.display_warning(f"sanakit goes without its native library: {error}")
            return
        build_data["artifacts"] += [f"/{NATIVE}/{native.LIBRARY.name}", f"/{NATIVE}/{native.SEAL}"]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{re.sub(r'[^a-z0-9]', '_', sysconfig.get_platform().lower())}"


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("native_build", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where its dataclasses look for it
    spec.loader.exec_module(module)
    return module
