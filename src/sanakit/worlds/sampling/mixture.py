"""How often which kind of scene, and which relation, is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from sanakit.common.errors import ConfigError
from sanakit.worlds.scenes.description import RELATIONS, Relation

Draw = Literal["single", "count", "relation", "pair", "trio", "person"]
K = TypeVar("K", bound=str)

KINDS: Mapping[Draw, float] = {
    "single": 0.34, "count": 0.18, "relation": 0.36, "pair": 0.05, "trio": 0.03, "person": 0.04,
}  # fmt: skip
RELATION_SHARES: Mapping[Relation, float] = {
    "left": 0.22, "right": 0.22, "above": 0.13, "below": 0.13, "in front": 0.12, "behind": 0.12, "on": 0.06,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """Shares, 0 to 1, of the kinds and relations that are named; the others share the rest as in `KINDS` and
    `RELATION_SHARES`. ``Mixture(kinds={"single": 0.3})`` has one thing alone in 30 % of the scenes."""

    kinds: Mapping[str, float] = field(default_factory=dict)
    relations: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("kinds", self.kinds, get_args(Draw))
        _check("relations", self.relations, RELATIONS)

    @property
    def identity(self) -> str:
        """The same for the same shares."""
        return " ".join(
            f"{key} {share}" for shares in (self.kinds, self.relations) for key, share in sorted(shares.items())
        )


def _check(what: str, shares: Mapping[str, float], known: tuple[str, ...]) -> None:
    if unknown := [key for key in shares if key not in known]:
        raise ConfigError(f"mixture.{what} has no {unknown[0]!r}; there are {', '.join(known)}")
    total = sum(shares.values())
    if any(not 0 <= share <= 1 for share in shares.values()) or total > 1 + 1e-9:
        raise ConfigError(f"shares of mixture.{what} must be from 0 to 1 and add up to 1 or less, not {total:g}")
    if total <= 0 and len(shares) == len(known):
        raise ConfigError(f"mixture.{what} leaves nothing to draw; give one of them a share")


def shares_of(usual: Mapping[K, float], given: Mapping[str, float]) -> Mapping[K, float]:
    """The usual shares, with those that are given in their place; all is as usual where none is."""
    if not given:
        return usual
    others = sum(share for key, share in usual.items() if key not in given) or 1.0
    rest = 1 - sum(given[key] for key in usual if key in given)
    return {key: given[key] if key in given else share / others * rest for key, share in usual.items()}
