"""How much better a picture is than the others of its prompt, and who takes part in learning from that."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sanakit.training.objectives.flow_matching import Velocity


class Roles(NamedTuple):
    """Three of a kind: noisy latents and the times that a network is told to velocities. ``policy`` learns, ``old`` has
    the weights that made the rollouts, and the policy is to stay near to ``reference``."""

    policy: Velocity
    old: Velocity
    reference: Velocity


Spread = Literal["all", "group"]
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What there is to learn from: ``num_groups``, the mean deviation of rewards within them, and the share of those
    with equal rewards, of which nothing is learned."""

    num_groups: int
    mean_deviation: float
    constant_share: float


def group_advantages(
    rewards: Tensor, groups: Sequence[Hashable], *, spread: Spread = "all"
) -> tuple[Tensor, GroupFacts]:
    """``(reward - mean of its group) / (deviation + 1e-4)`` in float64.

    Args:
        rewards: ``(N,)`` of an iteration, on all processes.
        groups: of each, its prompt; the same text is the same group.
        spread: whose deviation divides: of all rewards, or of the group's alone.

    Source: Flow-GRPO, arXiv:2505.05470; the deviation over all rewards is that of its code.
    """
    rewards = rewards.double()
    numbers: dict[Hashable, int] = {}
    of_sample = torch.tensor([numbers.setdefault(group, len(numbers)) for group in groups])
    members = torch.nn.functional.one_hot(of_sample, len(numbers)).double()  # (N, groups)
    mean = (members.mT @ rewards) / members.sum(0)
    centred = rewards - mean[of_sample]
    deviation = ((members.mT @ centred.square()) / members.sum(0)).sqrt()
    divisor = rewards.std(correction=0) if spread == "all" else deviation[of_sample]
    constant = (deviation < 1e-9).double().mean()
    return centred / (divisor + _FLOOR), GroupFacts(len(numbers), deviation.mean().item(), constant.item())
