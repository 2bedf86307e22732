"""A hub on this machine: the hub's own client talks to it as to the real one, and fills a cache as it always does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

LARGE = (".safetensors", ".bin", ".pth")  # stored by SHA-256, as the hub does with large files


class HubServer:
    """Repositories by id: bytes by path. ``asked`` says what was downloaded."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.swapped: dict[str, bytes] = {}  # what is sent in the place of a path's own bytes
        self.asked: list[str] = []
        self.status = 200  # of files

    def commit(self, repo: str) -> str:
        content = b"".join(name.encode() + data for name, data in sorted(self.repos[repo].items()))
        return hashlib.sha1(content).hexdigest()

    def entry(self, name: str, data: bytes) -> dict[str, Any]:
        sha, is_large = hashlib.sha256(data).hexdigest(), name.endswith(LARGE)
        kept = sha.encode() if is_large else data  # by git, which has a pointer in the place of a large file
        git = hashlib.sha1(b"blob %d\0" % len(kept) + kept).hexdigest()
        large = {"lfs": {"oid": sha, "sha256": sha, "size": len(data), "pointerSize": 130}}
        return {
            "type": "file", "path": name, "rfilename": name, "oid": git, "blobId": git, "size": len(data),
            **(large if is_large else {}),
        }  # fmt: skip

    def answer(self, path: str, method: str) -> tuple[int, dict[str, str], bytes]:
        words = [unquote(word) for word in urlsplit(path).path.strip("/").split("/")]
        is_api = words[:2] == ["api", "models"]
        words = words[2:] if is_api else words
        repo = "/".join(words[:2])
        if repo not in self.repos:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        files, commit = self.repos[repo], self.commit(repo)
        if is_api and words[2:3] == ["tree"]:
            return 200, {}, json.dumps([self.entry(*each) for each in files.items()]).encode()
        if is_api:
            siblings = [self.entry(*each) for each in files.items()]
            return 200, {}, json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
        name = "/".join(words[4:])
        if self.status != 200:
            return self.status, {}, b""
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        entry, data = self.entry(name, files[name]), self.swapped.get(name, files[name])
        if method == "GET":
            self.asked.append(name)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}, data


@contextmanager
def running_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.path, self.command)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 (the base class asks for this name)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
