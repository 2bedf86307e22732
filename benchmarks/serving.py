"""What a server adds to a picture, and how many pictures it makes for clients that all ask at once.

    sanakit serve MODEL --lanes 1
    OMP_NUM_THREADS=1 python benchmarks/serving.py overhead --model MODEL [--pairs 200] [--steps 4]

    sanakit serve starter --lanes 2 --threads 1      # and once more with --lanes 1 --threads 2
    python benchmarks/serving.py clients [--clients 32] [--seconds 60]

`overhead` asks for a picture and has the library make and write the same one, in turn, so that whatever else the
machine does falls on both. `clients` ask again as soon as they are answered, for three sizes and two numbers of steps.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

PROMPT, WARM_UP = "two red apples", 3
SIZES, STEPS = ("128x128", "160x96", "96x160"), (10, 20)


class Client:
    """One connection to a server."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=600)

    def picture(self, **wish: Any) -> bytes:
        """The file of one; raises RuntimeError for any other answer."""
        body = json.dumps({"prompt": PROMPT, **wish})
        self._connection.request("POST", "/v1/images/generations", body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(content.decode())
        return base64.b64decode(json.loads(content)["data"][0]["b64_json"])


def timed(make: Callable[[], bytes]) -> tuple[float, bytes]:
    """Seconds, and what was made."""
    start = time.perf_counter()
    content = make()
    return time.perf_counter() - start, content


def overhead(client: Client, model: str, pairs: int, steps: int) -> dict[str, float]:
    """Milliseconds; raises RuntimeError where both do not make the same picture."""
    from sanakit.checkpoints.opening import open_model
    from sanakit.pipelines.picture_file import encode_image
    from sanakit.pipelines.text_to_image import TextToImagePipeline

    pipeline, wish = TextToImagePipeline(open_model(model, device="cpu").load()), {"num_inference_steps": steps}

    def library() -> bytes:
        (image,) = pipeline(PROMPT, seed=7, **wish).images
        return encode_image(image.picture, image.record, "png")

    both = [(timed(lambda: client.picture(seed=7, **wish)), timed(library)) for _ in range(WARM_UP + pairs)]
    (_, asked), (_, made) = both[-1]
    if Image.open(io.BytesIO(asked)).tobytes() != Image.open(io.BytesIO(made)).tobytes():
        raise RuntimeError("the server makes another picture; has each of its lanes as many threads as this process?")
    served, own = ([1000 * pair[number][0] for pair in both[WARM_UP:]] for number in (0, 1))
    difference = statistics.median(one - other for one, other in zip(served, own, strict=True))
    return {"served": statistics.median(served), "library": statistics.median(own), "difference": difference}


def clients(address: str, number: int, seconds: float) -> dict[str, float]:
    """Pictures a second, and the seconds that half and 95 % of the requests took at most."""
    end, wishes, took = time.perf_counter() + seconds, itertools.count(), list[float]()

    def run() -> None:
        client = Client(address)
        while time.perf_counter() < end:
            turn = next(wishes)
            wish = {"size": SIZES[turn % len(SIZES)], "num_inference_steps": STEPS[turn // len(SIZES) % len(STEPS)]}
            took.append(timed(partial(client.picture, **wish))[0])

    threads = [threading.Thread(target=run) for _ in range(number)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pace, twentieths = len(took) / (time.perf_counter() - start), statistics.quantiles(took, n=20)
    return {"pictures_a_second": pace, "median": twentieths[9], "p95": twentieths[18]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "clients"))
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    if given.what == "overhead":
        found = overhead(Client(given.address), given.model, given.pairs, given.steps)
    else:
        found = clients(given.address, given.clients, given.seconds)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
