"""``sanakit reward serve``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import tell
from sanakit.cli.terminal.options import DeviceOption
from sanakit.common.byte_counts import parse_bytes
from sanakit.common.devices import resolve_device
from sanakit.common.errors import optional

_EXTRA = "sanakit reward serve needs FastAPI and uvicorn; install them with: pip install 'sanakit[serve]'"


def serve(
    rewards: Annotated[
        list[str],
        typer.Argument(metavar="REWARD...", help="As in recipes: reader, starter, a folder, file.py:function."),
    ],
    host: Annotated[str, typer.Option(help="0.0.0.0 for every network; give keys then.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8100,
    device: DeviceOption = "cpu",
    batch: Annotated[int, typer.Option(help="Pictures that are looked at together.", min=1)] = 16,
    max_waiting: Annotated[int, typer.Option(help="Pictures that may wait.", min=1)] = 512,
    max_body: Annotated[str, typer.Option(metavar="SIZE", help="Of one request.")] = "256MB",
    keys: Annotated[Path | None, typer.Option(metavar="FILE", help="Keys of clients, one a line.")] = None,
) -> None:
    """Look at pictures of training runs on other machines; their recipes name http://KEY@HOST:PORT as the reward."""
    optional("fastapi", _EXTRA)
    uvicorn = optional("uvicorn", _EXTRA)
    where = resolve_device(device)
    from sanakit.scoring.rewards.load import load_reward
    from sanakit.scoring.rewards.panel import Panel, RewardConfig
    from sanakit.serving.http.access import Limits, read_keys
    from sanakit.serving.rewards import RewardDesk, reward_app

    known = read_keys(keys) if keys is not None else {}
    configs = [RewardConfig(name=name) for name in rewards]
    panel = Panel.of(configs, lambda config: load_reward(config.name, device=where))
    panel.refuse_clips()  # what comes over HTTP are pictures
    desk = RewardDesk(panel, batch=batch, max_waiting=max_waiting)
    app = reward_app(desk, rewards, Limits(keys=known, body=parse_bytes(max_body)))
    tell(f"{', '.join(rewards)} at http://{host}:{port}; Ctrl-C ends it")
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)
