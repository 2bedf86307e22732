"""The policy and who it is compared with: the weights that made the rollouts, and those of the beginning.

With an adapter all three are one network, which is told what it carries; else they are three.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sanakit.adapters.adapter import Mix, Use, merged
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.layers.beside import told_by_row
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.models.transformers.video_dit import VideoDiT
from sanakit.training.objectives.advantages import Roles
from sanakit.training.objectives.flow_matching import Velocity
from sanakit.training.optimizers.shards import here
from sanakit.training.recipes.transformer.starting_model import StartingModel
from sanakit.training.step.parallel import whole_state


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A network, and what it is told to carry; None: it carries nothing."""

    network: LinearDiT | VideoDiT
    mix: Mix | None = None

    @contextmanager
    def told(self) -> Iterator[None]:
        with told_by_row(() if self.mix is None else (self.mix,)):
            yield

    def velocity(self, text: TextCondition, empty: TextCondition | None, scale: float, *, learns: bool) -> Velocity:
        """With guidance where ``empty``, the text of the other branch, is given; no gradient goes through that."""

        def velocity(noisy: Tensor, time: Tensor) -> Tensor:
            # kernels depend on whether gradients are recorded, and the ratio of equal weights is to be exactly 1: the
            # frozen ones compute as the one that learns, and record nothing as nothing in them wants a gradient
            with self.told(), torch.enable_grad():
                found = self.network(noisy, time, self.network.prepare(text))
            found = found if learns else found.detach()
            if empty is None:
                return found
            with self.told(), torch.no_grad():
                without = self.network(noisy, time, self.network.prepare(empty))
            return without + scale * (found - without)

        return velocity


class Policy:
    """Three in their roles.

    Args:
        start: what the run begins with; its learner is trained.

    Attributes:
        learner: the network or its adapter.
        old: as the learner was when its rollouts were made.
        around: frozen networks that losses need beside these.
    """

    def __init__(self, start: StartingModel, *, needs_reference: bool) -> None:
        network, adapter = start.transformer, start.adapter
        self.learner: nn.Module = start.learner
        self.learner.train().requires_grad_(True)
        self.old: nn.Module = deepcopy(self.learner).eval().requires_grad_(False)
        if adapter is None:
            assert isinstance(self.old, LinearDiT | VideoDiT)
            reference = deepcopy(self.old) if needs_reference else self.old
            self._parts = [_Part(network), _Part(self.old), _Part(reference)]
            self.around: tuple[nn.Module, ...] = (reference,) if needs_reference else ()
        else:
            old = self.old
            self._parts = [_Part(network, (Use(adapter),)), _Part(network, (Use(old),)), _Part(network, ())]  # type: ignore[arg-type]
            self.around = (network,)
        self.network, self._plain = network, None if adapter is None else deepcopy(adapter).cpu().eval()

    def roles(self, text: TextCondition, empty: TextCondition, scale: float) -> Roles:
        """Velocities for texts ``(B, L, C)``; ``empty`` is the one row that guidance leads away from, where ``scale``
        is above 1."""
        rows = len(text.mask)
        without = TextCondition(empty.embeds.expand(rows, -1, -1), empty.mask.expand(rows, -1)) if scale > 1 else None
        learner, old, reference = self._parts
        return Roles(
            learner.velocity(text, without, scale, learns=True),
            old.velocity(text, without, scale, learns=False),
            reference.velocity(text, without, scale, learns=False),
        )

    @torch.no_grad()
    def renew_old(self, share: float) -> None:
        """Keep that share of the weights of rollouts; the rest becomes the learner's."""
        pairs = zip(self.old.parameters(), self.learner.parameters(), strict=True)
        for old, now in pairs:
            here(old).lerp_(here(now.detach()).to(old), 1.0 - share) if share else here(old).copy_(here(now.detach()))

    def weights(self, of: nn.Module) -> tuple[dict[str, Tensor], str]:
        """Whole weights of the network on the CPU, with the learner or the old one as it is, and a hash of what of them
        can change; all processes must ask."""
        state = whole_state(of.state_dict())
        revision = hash_tensors(state)[:16]
        if self._plain is None:
            return state, revision
        self._plain.load_state_dict(state)
        whole = whole_state(self.network.state_dict())
        return {**whole, **merged(whole, [Use(self._plain)])}, revision
