"""Who may ask, how much and how large: keys, rates and bodies, before anything else sees a request."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sanakit.common.errors import RequestError
from sanakit.data.sources.files import lines_of, read_text
from sanakit.serving.errors import ApiError

OPEN_PATHS = ("/", "/health", "/ready")
PAGE = "/studio/page/"  # and all files under it, which ask for a key themselves
_LEAST_KEY = 8  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Args:
    keys: names by key; empty lets everybody in.
    body: bytes of a request.
    rate: requests of a key, or of an address, a minute.
    pixels: of one picture.
    hosts: names under which the server may be asked; empty allows all. Of one that only its own machine is to reach,
        so that no page of the net can have a browser ask it under a name of that page's own.
    """

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: int = 64 * 2**20
    rate: float = math.inf
    pixels: int = 4096 * 4096
    hosts: tuple[str, ...] = ()


def read_keys(file: Path | None, words: str = "") -> dict[str, str]:
    """Keys of a file, one a line with a name behind it if wanted, and of words parted by commas.

    Raises:
        RequestError: the file cannot be read, or a key is too short to be one.
    """
    try:
        lines = [] if file is None else lines_of(read_text(file))
    except ValueError as error:
        raise RequestError(f"{file} is no file of keys: {error}.") from None
    found: dict[str, str] = {}
    for line in (*lines, *words.split(",")):
        key, name = [*line.split(None, 1), "", ""][:2]
        if not key or key.startswith("#"):
            continue
        if len(key) < _LEAST_KEY or not key.isascii():
            raise RequestError(
                f"a key has {_LEAST_KEY} or more characters of ASCII; one of those that were given has not."
            )
        own = hashlib.sha256(key.encode()).hexdigest()[:8]  # and not its place, which moves as others go
        found[key] = name.strip() or f"key {own}"
    if file is not None and not found:
        raise RequestError(f"{file} holds no key, and would let everybody in; put one on a line.")
    return found


class Guard:
    """An ASGI layer that answers instead of the application where a client may not do what it does.

    Args:
        on_refused: told of every such answer, with its code.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        on_refused: Callable[[str], None] = lambda code: None,
    ) -> None:
        self._app, self._limits, self._clock, self._on_refused = app, limits, clock, on_refused
        self._allowance: dict[str, tuple[float, float]] = {}  # by client: requests left, and when that was so

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["path"].startswith(PAGE):
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._refuse_other_pages(headers)
            client = self._known(headers, scope)
            if scope["path"].startswith("/v1/") and scope["method"] == "POST":
                self._count(client)
            length = headers.get("content-length", "")
            if length.isdecimal() and int(length) > self._limits.body:
                raise self._too_large()
        except ApiError as error:
            self._on_refused(str(error.code))
            await error.response(scope, receive, send)
            return
        scope.setdefault("state", {})["owner"] = client if self._limits.keys else ""
        await self._app(scope, self._counting(receive), send)

    def _refuse_other_pages(self, headers: Headers) -> None:
        """A browser says which page asks, and a page of another place has no business here."""
        host, origin = headers.get("host", ""), headers.get("origin")
        name = asked_host(headers)
        if self._limits.hosts and name not in self._limits.hosts:
            raise ApiError(
                403, f"this server is not asked as {name!s:.80}; ask {self._limits.hosts[0]}.", code="wrong_host"
            )
        if origin is not None and _parts(origin).netloc != host:
            raise ApiError(403, "a page of another place may not ask this server.", code="wrong_origin")

    def _known(self, headers: Headers, scope: Scope) -> str:
        """The name of who asks."""
        if not self._limits.keys:
            return str((scope.get("client") or ("?",))[0])
        kind, _, given = headers.get("authorization", "").partition(" ")
        found = ""
        for key, name in self._limits.keys.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(key.encode(), given.strip().encode()):
                found = name
        if kind.lower() != "bearer" or not found:
            raise ApiError(401, "this server needs a key that it knows: send Authorization: Bearer KEY.")
        return found

    def _count(self, client: str) -> None:
        rate = self._limits.rate
        if math.isinf(rate):
            return
        now = self._clock()
        most = max(rate, 1.0)
        left, since = self._allowance.get(client, (most, now))
        left = min(left + (now - since) * rate / 60, most)
        if left < 1:
            after = (1 - left) * 60 / rate
            message = f"more than {rate:g} requests a minute came from {client}; wait {after:.0f} s."
            raise ApiError(429, message, code="rate_limit_exceeded", retry=True, after=after)
        if len(self._allowance) > 10_000:
            self._allowance.clear()
        self._allowance[client] = (left - 1, now)

    def _counting(self, receive: Receive) -> Receive:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message: Any = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limits.body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ApiError:
        return ApiError(413, f"a request may have {self._limits.body} bytes, and this one has more.")


def asked_host(headers: Headers) -> str | None:
    """The name under which the server is asked, in small letters, without brackets and port."""
    return _parts(f"//{headers.get('host', '')}").hostname


def _parts(address: str) -> SplitResult:
    """Empty ones of what is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
