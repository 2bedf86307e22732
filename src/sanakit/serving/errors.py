"""Errors as OpenAI's clients read them: a message, a type, the parameter, a code; and whether to try again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sanakit.common.errors import OutputError, PictureError, RequestError, SanakitError
from sanakit.serving.engine import BusyError, LackError, StoppingError
from sanakit.serving.messages import Failed, Reason
from sanakit.serving.service import ClientGoneError
from sanakit.serving.wishes import WishError, about

logger = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_CODES = {
    400: "invalid_value",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
}
_OF_REASON: Mapping[Reason, tuple[int, str]] = {
    "request": (400, "invalid_value"),
    "memory": (503, "insufficient_memory"),
    "cancelled": (409, "cancelled"),
    "deadline": (408, "deadline_exceeded"),
    "stopped": (503, "server_stopping"),
    "crash": (500, "worker_crashed"),
    "failed": (500, "server_error"),
}


class ApiError(SanakitError):
    """What a client is answered with.

    Args:
        retry: whether the same request may do better; ``after`` so many seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry: bool = False,
        after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code or _CODES.get(status), param
        self.retry, self.after = retry, after

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """What OpenAI's clients obey."""
        told = {"x-should-retry": str(self.retry).lower()}
        if self.after is not None:
            told |= {"retry-after": str(max(round(self.after), 1)), "retry-after-ms": str(round(self.after * 1000))}
        return told

    @property
    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, self.headers)


def of_failure(failure: Failed, *, begun: bool) -> ApiError:
    """Why there is no picture; after work has begun nobody is to ask again by himself, but where we ended it."""
    status, code = _OF_REASON[failure.reason]
    retry = failure.reason == "stopped" or (failure.reason == "memory" and not begun)
    return ApiError(status, failure.sentence, code=code, retry=retry, after=1.0 if retry else None)


def as_api_error(error: Exception) -> ApiError:
    """Of any error that a request can cause."""
    match error:
        case ApiError():
            return error
        case StoppingError():
            return ApiError(503, str(error), code="server_stopping", retry=True, after=1.0)
        case BusyError():
            return ApiError(429, str(error), code="server_busy", retry=True, after=2.0)
        case LackError():
            return ApiError(503, str(error), code="insufficient_memory", retry=False)
        case WishError() | RequestError():
            found = about(error)
            return ApiError(400, str(found), code=found.code, param=found.param)
        case PictureError():
            return ApiError(400, str(error), code="invalid_image")
        case RequestValidationError():
            problem = error.errors()[0]
            param = str(problem["loc"][-1]) if problem["loc"] else None
            return ApiError(422, f"{param}: {problem['msg']}.", param=param, code="invalid_value")
        case HTTPException(status_code=status):
            return ApiError(status, f"{error.detail}.".replace("..", "."))
        case ClientGoneError() | ClientDisconnect():
            return ApiError(499, "the client went away", code="client_closed_request")
        case OutputError():
            logger.warning("%s", error)  # places and hosts in it are not for clients
            told = "the server cannot write or read what it keeps; its log says why. Ask again later"
            return ApiError(503, told, code="storage_unavailable", retry=True, after=5.0)
        case SanakitError():
            return ApiError(500, str(error), code="server_error")
    logger.exception("an unexpected error", exc_info=error)
    return ApiError(500, f"an unexpected {type(error).__name__} in the server", code="server_error")


def answer_errors(app: FastAPI) -> None:
    """In OpenAI's shape, whatever goes wrong."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response

    for kind in (SanakitError, RequestValidationError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, answer)
