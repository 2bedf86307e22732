"""A picture of the starter from the shell: a new process, from its first import to the written file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from torch import Tensor

from sanakit.bench.case import Case
from sanakit.bench.settings import BenchSettings
from sanakit.bench.stopwatch import timed
from sanakit.common.errors import SanakitError
from sanakit.common.pixels import to_signed
from sanakit.pipelines.picture_file import open_picture


def shell_case(settings: BenchSettings) -> Case:
    """The first call, which is not counted, may fetch the language model; diffusers has no command to compare with."""
    importing = timed(lambda: _run("-c", "import torch"), "cpu")
    return Case(
        ours=lambda: _picture("two red apples"),
        peer=None,
        control=lambda: _picture("two green apples"),
        work=None,
        note=f"CPU time of the new process counts; importing torch alone took {importing.cpu:.1f} s of CPU",
    )


def _picture(prompt: str) -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        _run("-m", "sanakit", "generate", prompt, "--output", str(path), "--quiet")
        return to_signed([np.asarray(open_picture(path))])


def _run(*words: str) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        raise SanakitError(f"a picture from the shell failed: {done.stderr.strip() or done.stdout.strip()}")
