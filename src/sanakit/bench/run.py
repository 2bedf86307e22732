"""Stages one after the other: each is built, compared, timed beside its peer, and let go before the next."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from sanakit.bench.case import Case, StageResult, psnr_of, relative_error
from sanakit.bench.floors import Rates
from sanakit.bench.settings import BenchSettings, StageName
from sanakit.bench.stages.networks import decode_case, encode_case, step_case
from sanakit.bench.stages.pictures import picture_case, sprint_case, starter_case
from sanakit.bench.stages.shell import shell_case
from sanakit.bench.stages.text import text_case
from sanakit.bench.stages.training import training_case
from sanakit.bench.stopwatch import interleaved, others_cores, peak_bytes
from sanakit.kernels.arithmetic import own_arithmetic

logger = logging.getLogger(__name__)

CASES: Mapping[StageName, Callable[[BenchSettings], Case]] = {
    "text": text_case,
    "step": step_case,
    "decode": decode_case,
    "encode": encode_case,
    "picture": picture_case,
    "sprint": sprint_case,
    "starter": starter_case,
    "shell": shell_case,
    "training": training_case,
}


@torch.no_grad()
def run_stages(settings: BenchSettings, stages: Sequence[StageName], rates: Rates) -> Iterator[StageResult]:
    """Each stage as soon as it is measured."""
    start = time.perf_counter()
    with own_arithmetic(settings.threads):
        for index, name in enumerate(stages):
            left = math.inf if settings.budget is None else settings.budget - (time.perf_counter() - start)
            yield measure(name, CASES[name](settings), settings, rates, seconds=left / (len(stages) - index))
            gc.collect()


def measure(name: str, case: Case, settings: BenchSettings, rates: Rates, *, seconds: float) -> StageResult:
    """Compare, then time; the calls that compare are the first ones, and are not counted."""
    start = time.perf_counter()
    since, _ = others_cores()
    kept: dict[str, Tensor] = {}

    def keeping(key: str, call: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: kept.update({key: call()})

    peak = peak_bytes(keeping("ours", case.ours), settings.device)
    peer_peak = peak_bytes(keeping("peer", case.peer), settings.device) if case.peer is not None else None
    expected = kept.get("peer", kept["ours"])
    control = relative_error(case.control(), expected) if case.control is not None else None
    sides: list[Callable[[], object]] = [case.ours] if case.peer is None else [case.ours, case.peer]
    left = seconds - (time.perf_counter() - start)
    times = interleaved(sides, repeats=settings.repeats, seconds=left, device=settings.device)
    _, others = others_cores(since)
    logger.info("measured %s: %.3f s", name, times[0].wall)
    return StageResult(
        name=name,
        ours=times[0],
        peer=times[1] if case.peer is not None else None,
        error=relative_error(kept["ours"], expected) if case.peer is not None else None,
        control=control,
        psnr=psnr_of(kept["ours"], expected) if case.peer is not None and case.is_picture else None,
        floor=rates.floor(case.work) if case.work is not None else None,
        flops=case.work.flops if case.work is not None else None,
        weights=case.weights,
        peak=peak,
        peer_peak=peer_peak,
        others=others,
        note=case.note,
    )
