"""``sanakit eval``"""

from __future__ import annotations

import typer

from sanakit.cli.eval.adapter import adapter
from sanakit.cli.eval.best_of import best_of
from sanakit.cli.eval.clips import clips
from sanakit.cli.eval.control import control
from sanakit.cli.eval.distances import clip_score, fid, kid
from sanakit.cli.eval.inpainting import inpainting
from sanakit.cli.eval.motion import motion
from sanakit.cli.eval.prompts import prompts
from sanakit.cli.eval.quantized import quantized
from sanakit.cli.eval.read import read
from sanakit.cli.eval.reconstruction import reconstruction
from sanakit.cli.eval.runs import runs
from sanakit.cli.eval.starter import starter
from sanakit.cli.eval.vbench import vbench
from sanakit.cli.terminal.options import add_commands

eval_app = typer.Typer(no_args_is_help=True, help="Score pictures and models.")
add_commands(
    eval_app,
    fid,
    kid,
    clip_score,
    adapter,
    clips,
    control,
    inpainting,
    reconstruction,
    motion,
    vbench,
    prompts,
    quantized,
    read,
    runs,
    starter,
    best_of,
)
