"""A shallower network: the blocks that change their input least are left out (SANA-1.5, arXiv:2501.18427, 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

from sanakit.common.errors import RequestError


def blocks_to_keep(
    importance: Sequence[float], num_layers: int, *, keep_first: int = 0, keep_last: int = 0
) -> tuple[int, ...]:
    """Numbers of the ``num_layers`` most important blocks, in their old order; of equals the earlier stays.

    Args:
        importance: of every block, from its first to its last.
        num_layers: how many stay.
        keep_first, keep_last: so many at the beginning and end stay whatever their importance.

    Raises:
        RequestError: there are not so many blocks, or nothing would be left out.
    """
    total = len(importance)
    if not 1 <= num_layers < total:
        raise RequestError(f"{total} blocks cannot be cut down to {num_layers}; give a number from 1 to {total - 1}")
    if min(keep_first, keep_last) < 0 or keep_first + keep_last > num_layers:
        raise RequestError(
            f"the first {keep_first} and the last {keep_last} blocks cannot all stay among {num_layers}; keep fewer"
        )
    certain = {*range(keep_first), *range(total - keep_last, total)}
    order = sorted(range(total), key=lambda index: (index not in certain, -importance[index], index))
    return tuple(sorted(order[:num_layers]))
