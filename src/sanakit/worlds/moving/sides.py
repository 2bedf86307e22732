"""Which of a look's pictures shows it after a turn, or in a pose of its clip."""

from __future__ import annotations

from sanakit.worlds.banks.things import Look

_MIN_YAWS = 4  # of a look that can be seen to turn
_POSES_A_SECOND = 4.0  # of a look that has several


def can_turn(look: Look) -> bool:
    """Whether it has enough sides for a turn to be seen."""
    return len(_sides(look)) >= _MIN_YAWS


def view_at(look: Look, view: int, turn: float, time: float) -> int:
    """The view that is nearest after a turn, and the pose of its clip at that time."""
    begun = look.views[view]
    if turn:
        return min(
            _sides(look, begun.pitch), key=lambda side: abs((look.views[side].yaw - begun.yaw - turn + 180) % 360 - 180)
        )
    poses = [n for n, v in enumerate(look.views) if (v.yaw, v.pitch) == (begun.yaw, begun.pitch)]
    return poses[(poses.index(view) + int(time * _POSES_A_SECOND)) % len(poses)]


def _sides(look: Look, pitch: float | None = None) -> list[int]:
    """Numbers of the views from different sides at the height of the camera that has most of them, or at this one."""
    heights = sorted({view.pitch for view in look.views})
    at = {height: {v.yaw: n for n, v in enumerate(look.views) if v.pitch == height} for height in heights}
    chosen = (
        pitch if pitch is not None and len(at[pitch]) >= _MIN_YAWS else max(heights, key=lambda each: len(at[each]))
    )
    return list(at[chosen].values())
