"""The end of a server: the first signal lets pictures finish, the second ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

SERVER = """
import sys, time
from types import SimpleNamespace
from fastapi import FastAPI
from sanakit.serving.http.server import serve_app

service = SimpleNamespace(engine=SimpleNamespace(accepting=True), stop=time.sleep)
serve_app(FastAPI(), service, host="127.0.0.1", port=0, stop_within=120,
          on_ready=lambda url: print(url, flush=True))
"""


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        time.sleep(0.5)  # until it hears signals
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
        assert time.monotonic() - start < 2
