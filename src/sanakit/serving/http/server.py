"""uvicorn around the application: a socket that is known before it serves, and an end in which nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from sanakit.common.errors import RequestError
from sanakit.serving.service import Service


class _Server(uvicorn.Server):
    """Running pictures have their time before connections are closed."""

    def __init__(self, config: uvicorn.Config, service: Service, stop_within: float) -> None:
        super().__init__(config)
        self._service, self._stop_within, self._stopping = service, stop_within, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal ends the process at once, as that signal does where nobody listens: jobs survive it."""
        if self._stopping:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
            return
        self._stopping = True
        self._service.engine.accepting = False

        async def finish() -> None:
            await asyncio.to_thread(self._service.stop, self._stop_within)
            self.should_exit = True  # told to uvicorn's own handler, the signal would come again and end the process

        self._loop.call_soon_threadsafe(lambda: setattr(self, "_finishing", self._loop.create_task(finish())))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)


def serve_app(
    app: FastAPI,
    service: Service,
    *,
    host: str,
    port: int,
    stop_within: float,
    on_ready: Callable[[str], None] = lambda url: None,
    on_hangup: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a signal comes.

    Args:
        port: 0 for any that is free.
        stop_within: seconds for what runs when the end comes.
        on_hangup: called where SIGHUP comes.

    Raises:
        RequestError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)  # whoever reads the address may come at once
    except OSError as error:
        raise RequestError(f"--host {host} --port {port} cannot be had ({error.strerror}); choose another") from None
    number = listening.getsockname()[1]
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5, access_log=False)
    server = _Server(config, service, stop_within)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda number, frame: on_hangup())
    on_ready(f"http://{f'[{host}]' if ':' in host else host}:{number}")
    server.run(sockets=[listening])
