"""A reward on another machine: pictures go over HTTP to ``sanakit reward serve``, and numbers come back."""

from __future__ import annotations

import base64
import io
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from PIL import Image

from sanakit.common.config import json_values
from sanakit.scoring.rewards.reward import Metadata, Rewarded, RewardError

logger = logging.getLogger(__name__)

PATH = "/v1/rewards"
_TOGETHER = 16  # pictures of a request
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0  # seconds between attempts


class RemoteReward:
    """Asks until it is answered, or until nothing was answered for so long; it may ask again, as looking at a picture
    changes nothing.

    Args:
        url: of the service; a key stands before the host, as in ``http://KEY@judge:8100``.
        patience: seconds without an answer after which it is an error.
        timeout: seconds of one attempt.
    """

    def __init__(self, url: str, *, patience: float = 300.0, timeout: float = 120.0) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.name = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._patience, self._timeout = patience, timeout
        self._headers = {"Content-Type": "application/json"}
        if key := parts.username:
            self._headers["Authorization"] = f"Bearer {key}"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def __call__(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]
    ) -> Rewarded:
        """Raises RewardError where the service refuses the pictures, or does not answer for too long."""
        marks, facts = list[Mapping[str, float | None]](), list[Mapping[str, Any]]()
        for start in range(0, len(pictures), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            asked = {
                "pictures": [_encoded(picture) for picture in pictures[part]],
                "prompts": list(prompts[part]),
                "metadata": [dict(known) for known in metadata[part]],
            }
            said = self._answer(json.dumps(asked).encode())
            marks += said["marks"]
            facts += said["facts"]
        names = dict.fromkeys(name for own in marks for name in own)
        return Rewarded({name: [own.get(name) for own in marks] for name in names}, facts)

    def _answer(self, body: bytes) -> dict[str, Any]:
        """Of one request, however often it has to be sent."""
        began, wait = time.monotonic(), _FIRST_WAIT
        while True:
            try:
                request = urllib.request.Request(self.name + PATH, data=body, headers=self._headers)
                with self._open(request, timeout=self._timeout) as response:
                    said = json_values(response.read())
                return _checked(said, self.name)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    raise RewardError(f"the rewards at {self.name} refused: {_words(error)}") from error
                trouble, wait = f"answered {error.code}", max(wait, _seconds(error.headers.get("Retry-After")))
            except (OSError, ValueError) as error:  # no connection, cut off in the middle, no JSON
                trouble = str(error)
            if time.monotonic() - began + wait > self._patience:
                raise RewardError(
                    f"the rewards at {self.name} gave no answer for {self._patience:g} s ({trouble}); start the "
                    f"service again and run the same command, which goes on"
                )
            logger.warning("the rewards at %s gave no answer (%s); again in %.1f s", self.name, trouble, wait)
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)


def _encoded(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


def _checked(said: Any, name: str) -> dict[str, Any]:
    if not isinstance(said, dict) or not all(isinstance(said.get(key), list) for key in ("marks", "facts")):
        raise RewardError(f"what answers at {name} is no service of rewards; start one with: sanakit reward serve")
    return said


def _words(error: urllib.error.HTTPError) -> str:
    """The sentence of a refusal."""
    try:
        said = json_values(error.read())
        return str(said["error"]["message"] if isinstance(said["error"], dict) else said["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def _seconds(text: str | None) -> float:
    try:
        return min(float(text or 0), _LONGEST_WAIT)
    except ValueError:
        return 0.0
