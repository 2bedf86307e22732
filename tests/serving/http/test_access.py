"""What every client meets, friendly or not."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.datastructures import Headers

from sanakit.common.errors import RequestError
from sanakit.serving.errors import ApiError
from sanakit.serving.http.access import Guard, Limits, read_keys

KEY = {"Authorization": "Bearer secret-of-tests"}


def ask(address: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    given = {**KEY, "Content-Type": "application/json", **headers}
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    text = answer.read()
    try:
        return answer.status, json.loads(text), dict(answer.getheaders())
    except ValueError:
        return answer.status, text.decode(), dict(answer.getheaders())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/images/generations", b"{", 400),
        ("POST", "/v1/images/generations", b"[1]", 400),
        ("POST", "/v1/images/generations", b"[" * 100_000, 400),
        ("POST", "/v1/images/generations", b"\xff\xfe", 400),
        ("POST", "/v1/images/generations", b'{"prompt": "a", "seed": NaN}', 400),
        ("POST", "/v1/images/generations", b'{"prompt": "\\ud800"}', 400),
        ("POST", "/v1/images/generations", b'{"prompt": "a", "user": "\\udfff"}', 400),  # of which no answer could tell
        ("POST", "/v1/images/generations", b'{"prompt": "a", "\\ud800": 1}', 400),
        ("POST", "/v1/images/generations", b'{"prompt": "a", "n": 1e400}', 400),
        ("POST", "/v1/images/generations", b'{"prompt": ""' + b" " * 2**21 + b"}", 413),
        ("POST", "/v1/images/edits", b'{"prompt": "a"}', 400),
        ("GET", "/v1/images/generations", None, 405),
        ("GET", "/v1/../../etc/passwd", None, 404),
        ("GET", "/nothing", None, 404),
    ],
)
def test_bad_requests_are_answered_in_one_shape(
    address: str, method: str, path: str, body: bytes | None, status: int
) -> None:
    found, content, headers = ask(address, method, path, body)
    assert found == status
    assert set(content["error"]) == {"message", "type", "param", "code"}
    assert content["error"]["code"]
    assert headers["x-should-retry"] == "false"


_CUT = b"""--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n--x\r
Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n\x89PNG"""


@pytest.mark.parametrize("form", [b"nothing", _CUT[:40], _CUT, _CUT + b"\r\n--x\r\n"])
def test_a_form_that_is_none_is_told(address: str, form: bytes) -> None:
    """Also one that ends before its end, of which a file may be cut off."""
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    found, content, _ = ask(address, "POST", "/v1/images/edits", form, **kind)
    assert (found, content["error"]["code"]) == (400, "invalid_form")
    found, content, _ = ask(address, "POST", "/v1/images/edits", _CUT + b"\r\n--x--\r\n", **kind)
    assert (found, content["error"]["param"]) == (400, "image")


def test_health_needs_no_key_and_metrics_do(address: str) -> None:
    assert ask(address, "GET", "/health", Authorization="")[1]["status"] == "ok"
    assert ask(address, "GET", "/ready", Authorization="")[1] == {"status": "ready"}
    assert ask(address, "GET", "/metrics", Authorization="")[1]["error"]["code"] == "invalid_api_key"
    assert ask(address, "GET", "/health_generate")[1] == {"status": "ok", "size": "128x128"}
    text = ask(address, "GET", "/metrics")[1]
    for name in (
        "num_requests_running", "queue_time_seconds_count", "e2e_request_latency_seconds_count", "steps_total",
        "images_total", "requests_rejected_total", "request_success_total",
        "oom_recoveries_total",
    ):  # fmt: skip
        assert f"sanakit_{name}" in text
    assert 'reason="invalid_api_key"' in text


def test_pages_of_other_places_may_not_ask(address: str) -> None:
    host = urlsplit(address).netloc
    assert ask(address, "GET", "/v1/models", Origin=f"http://{host}")[0] == 200
    for origin in ("http://evil.example", "null", "http://["):
        found, content, _ = ask(address, "GET", "/v1/models", Origin=origin)
        assert (found, content["error"]["code"]) == (403, "wrong_origin")

    async def app(*_: object) -> None: ...

    guard = Guard(app, Limits(hosts=("localhost",)))
    guard._refuse_other_pages(Headers({"host": "localhost:80"}))
    for named in ("evil.example", "", "["):
        with pytest.raises(ApiError, match="is not asked as"):
            guard._refuse_other_pages(Headers({"host": named}))


def test_a_rate_is_kept_and_comes_back_with_time() -> None:
    now = [0.0]

    async def app(*_: object) -> None: ...

    guard = Guard(app, Limits(rate=2), clock=lambda: now[0])
    for _ in range(2):
        guard._count("a")
    guard._count("b")
    with pytest.raises(Exception, match="more than 2 requests a minute"):
        guard._count("a")
    now[0] = 31.0
    guard._count("a")


def test_less_than_one_a_minute_lets_the_first_in() -> None:
    now = [0.0]

    async def app(*_: object) -> None: ...

    guard = Guard(app, Limits(rate=0.5), clock=lambda: now[0])
    guard._count("a")
    for later in (0.0, 119.0):
        now[0] = later
        with pytest.raises(ApiError, match=r"more than 0.5 requests a minute"):
            guard._count("a")
    now[0] = 121.0
    guard._count("a")


def test_keys_are_read_from_a_file_and_words(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes("# ours\r\nfirst-key\talice\r\nsecond-key\r\n".encode("utf-8-sig"))  # as of Windows
    found = read_keys(file, "third-key")
    assert found["first-key"] == "alice"
    assert len(set(found.values())) == 3
    assert "second-key" not in "".join(found.values())
    assert read_keys(None, "second-key") == {"second-key": found["second-key"]}  # whatever else there is
    for text, words in (("", ""), ("short\n", "")):
        file.write_text(text)
        with pytest.raises(RequestError):
            read_keys(file, words)
    with pytest.raises(RequestError, match="cannot be read"):
        read_keys(tmp_path / "none")
