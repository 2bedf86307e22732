"""The right caption against a wrong one: what a network has learned to read, long before its pictures show it.

The share of pictures whose flow loss is lower under their right caption than under one that is wrong, with the same
noise, by the kind of word that is wrong. 50 % is a network that does not read the word. Nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sanakit.common.ranks import ALONE, Ranks, sum_over_ranks
from sanakit.features.contrasts import ContrastBatch
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.objectives.caption_gap import caption_gaps, wins
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, Velocity
from sanakit.training.run.session import Session
from sanakit.training.step.parallel import attention_for, autocast
from sanakit.training.step.standard_text import StandardText, standardised

ALL_KINDS = "right_caption"


class CaptionTest:
    """The test of a run: the same pictures, words and noise from a stage's first step to its last."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._batches: Sequence[ContrastBatch] = ()
        self._objective = FlowMatchingConfig()

    def begin(self, batches: Sequence[ContrastBatch], objective: FlowMatchingConfig) -> None:
        """A stage with these pictures and this shift of the noise levels begins."""
        self._batches, self._objective = batches, objective

    def run(self, network: LinearDiT, standard: StandardText | None) -> dict[str, float]:
        """``right_caption`` and ``right_caption/KIND``, 0 to 1; each process takes its share, and all must call."""
        return self._shares(network, standard, self._session.ranks)

    def run_alone(self, network: LinearDiT) -> dict[str, float]:
        """The same of a whole network that reads the text as it comes, on this process alone."""
        before = next(network.parameters()).device
        try:
            return self._shares(network.to(self._session.device), None, ALONE)
        finally:
            network.to(before)

    def _shares(self, network: LinearDiT, standard: StandardText | None, ranks: Ranks) -> dict[str, float]:
        kinds = sorted({kind for batch in self._batches for kind in batch.kinds})
        if not kinds:
            return {}
        won, number = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0)
        for turn in range(-(-len(self._batches) // ranks.world)):
            index = turn * ranks.world + ranks.rank
            batch = self._batches[index % len(self._batches)]  # shards of a network need all processes in every turn
            gaps = self._gaps(network, standard, batch, index)
            for kind, (wins_of_kind, count) in wins(gaps, batch.kinds).items() if index < len(self._batches) else ():
                won[kind] += wins_of_kind
                number[kind] += count
        totals = sum_over_ranks([*won.values(), *number.values()], ranks)
        shares = {kind: w / n for kind, w, n in zip(kinds, totals, totals[len(kinds) :], strict=False)}
        each = {f"{ALL_KINDS}/{kind.replace('/', '-').replace(' ', '_')}": share for kind, share in shares.items()}
        return {ALL_KINDS: sum(totals[: len(kinds)]) / sum(totals[len(kinds) :]), **each}

    def _gaps(self, network: LinearDiT, standard: StandardText | None, batch: ContrastBatch, index: int) -> Tensor:
        session = self._session

        def velocity_with(text: TextCondition) -> Velocity:
            text = TextCondition(text.embeds.to(session.device), text.mask.to(session.device))
            if standard is not None:
                text = standardised(text, standard.mean, standard.deviation)
            prepared = network.prepare(text)
            return lambda noisy, timestep: network(noisy, timestep, prepared)

        with (
            attention_for(session.device),
            autocast(session.device, session.config.precision),
            _as_written(session.config.compile is not False),
        ):
            return caption_gaps(
                velocity_with,
                batch.latent.to(session.device),
                (batch.right, batch.wrong),
                torch.Generator().manual_seed(index),
                config=self._objective,
            )


@contextmanager
def _as_written(compiled: bool) -> Iterator[None]:
    """Compiled blocks run as they are written: shapes of this test alone are not worth a minute of compiling."""
    if not compiled:  # it would load the compiler, which takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
