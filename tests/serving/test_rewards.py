"""Rewards over HTTP: the same marks as here, in order, once, whatever the service goes through."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.scoring.rewards.load import load_reward
from sanakit.scoring.rewards.panel import Panel, RewardConfig
from sanakit.scoring.rewards.remote import RemoteReward
from sanakit.scoring.rewards.reward import Rewarded, RewardError
from sanakit.serving.http.access import Limits
from sanakit.serving.rewards import FullError, RewardDesk, reward_app

PICTURES = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in range(0, 200, 10)]
PROMPTS = [f"prompt {number}" for number in range(len(PICTURES))]
KNOWN = [{"number": number} for number in range(len(PICTURES))]


class Light:
    """Knows how often and with how many pictures it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.wait = threading.Event()
        self.wait.set()

    def __call__(self, pictures, prompts, metadata) -> Rewarded:
        self.wait.wait(10)
        self.asked.append(len(pictures))
        if any(prompt == "bad" for prompt in prompts):
            raise ValueError("no such thing")
        light = [float(np.asarray(picture).mean()) for picture in pictures]
        return Rewarded(
            {"light": light, "none": [None] * len(light)}, [{"of": known.get("number")} for known in metadata]
        )


@pytest.fixture
def light() -> Light:
    return Light()


@pytest.fixture
def desk(light: Light) -> Iterator[RewardDesk]:
    desk = RewardDesk(Panel.of([RewardConfig(name="light")], lambda config: light), batch=8, max_waiting=16)
    yield desk
    light.wait.set()
    desk.close()


@pytest.fixture
def url(desk: RewardDesk, served: Any) -> Iterator[str]:
    with served(reward_app(desk, ["light"], Limits(keys={"a-long-key": "me"}))) as address:
        yield address.replace("http://", "http://a-long-key@")


def test_marks_come_back_in_order_and_a_refusal_is_told(url: str) -> None:
    reward: Any = load_reward(url)
    assert "a-long-key" not in reward.name
    found = reward(PICTURES, PROMPTS, KNOWN)
    assert found.scores["light.light"] == list(range(0, 200, 10))
    assert found.scores["light.none"] == [None] * 20
    assert found.facts[7] == {"light": {"of": 7}}
    with pytest.raises(RewardError, match=r"refused: the reward light failed .* no such thing"):
        reward(PICTURES[:1], ["bad"], [{}])
    with pytest.raises(RewardError, match=r"refused: .* key"):
        RemoteReward(url.replace("a-long-key@", ""))(PICTURES[:1], PROMPTS[:1], [{}])


def test_health_and_requests_that_are_none(url: str) -> None:
    plain = url.replace("a-long-key@", "")
    with urllib.request.urlopen(f"{plain}/health") as response:
        assert json.load(response) == {"status": "ok", "rewards": ["light"], "waiting": 0}

    def status(body: dict[str, Any]) -> int:
        headers = {"Authorization": "Bearer a-long-key", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{plain}/v1/rewards", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status({"pictures": ["%%%"], "prompts": ["a"]}) == 400
    assert status({"pictures": ["aGVsbG8="], "prompts": ["a"]}) == 400
    assert status({"pictures": ["aGVsbG8="], "prompts": []}) == 400
    assert status({"pictures": [], "prompts": []}) == 422


def test_who_asks_at_once_is_looked_at_together_and_one_fault_is_not_anothers(desk: RewardDesk, light: Light) -> None:
    light.wait.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(desk.look, PICTURES[:1], PROMPTS[:1], KNOWN[:1])
        while desk.waiting:
            time.sleep(0.01)
        good = pool.submit(desk.look, PICTURES[1:3], PROMPTS[1:3], KNOWN[1:3])
        while desk.waiting < 2:
            time.sleep(0.01)
        bad = pool.submit(desk.look, PICTURES[3:4], ["bad"], KNOWN[3:4])
        while desk.waiting < 3:
            time.sleep(0.01)
        with pytest.raises(FullError):
            desk.look(PICTURES[:14], PROMPTS[:14], KNOWN[:14])
        light.wait.set()
        assert first.result()[0][0]["light.light"] == 0
        assert [marks["light.light"] for marks, _ in good.result()] == [10, 20]
        with pytest.raises(RewardError, match="no such thing"):
            bad.result()
    assert light.asked == [1, 3, 2, 1]  # together, and then each alone


class Dying(http.server.BaseHTTPRequestHandler):
    """Cuts the first answer off, is too busy for the second, gives the third."""

    calls = 0

    def do_POST(self) -> None:
        type(self).calls += 1
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        marks = json.dumps({"marks": [{"x": known["number"]} for known in asked["metadata"]], "facts": []}).encode()
        if self.calls % 3 == 1:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.calls % 3 == 2:
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(marks)))
        self.end_headers()
        self.wfile.write(marks)

    def log_message(self, *words: object) -> None: ...


def test_a_service_that_dies_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanakit.scoring.rewards.remote._FIRST_WAIT", 0.01)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    reward = RemoteReward(f"http://127.0.0.1:{server.server_port}")
    assert reward(PICTURES, PROMPTS, KNOWN).scores == {"x": list(range(20))}
    server.shutdown()
    server.server_close()
    gone = RemoteReward(f"http://127.0.0.1:{server.server_port}", patience=0.05)
    began = time.monotonic()
    with pytest.raises(RewardError, match=r"gave no answer for 0.05 s .*goes on"):
        gone(PICTURES, PROMPTS, KNOWN)
    assert time.monotonic() - began < 5
