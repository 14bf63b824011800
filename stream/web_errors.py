"""Errors of the HTTP API: a status and one line of JSON, and no value that may hold a password."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from .config_errors import dotted, shown, source_error
from .locator import redacted
from .one_line import printable


class ErrorAnswer(BaseModel):
    """Why a request was refused."""

    error: str = Field(examples=["limit: 900 is too much; give at most 500"])


METHODS = ("GET", "POST", "DELETE")
WHY = {
    400: "Something in the request is wrong.",
    401: "A token is needed, or it is wrong.",
    403: "Not from here, or not allowed.",
    404: "There is no such thing.",
    408: "The body took too long.",
    409: "There is one already.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many wrong tokens.",
    503: "Not possible at the moment.",
}
ALWAYS = (401, 403)
CHANGING = (400, *ALWAYS, 408, 413, 415)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of the errors of an operation.

    Examples
    --------
    >>> sorted(errors(404))
    [401, 403, 404]
    """
    return {
        status: {"model": ErrorAnswer, "description": WHY[status]}
        for status in sorted({*statuses, *ALWAYS})
    }


def first_error(items: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong first in a list of Pydantic's, in words.

    Examples
    --------
    >>> first_error([{"type": "less_than_equal", "loc": ("query", "limit"), "input": "900",
    ...               "ctx": {"le": 500}}])
    'limit: 900 is too much; give at most 500'
    """
    item = items[0]
    loc = tuple(item["loc"])
    place = loc[1:] if loc and loc[0] in ("query", "path", "body", "header") else loc
    if item["type"] == "json_invalid":
        return "the body is not JSON"
    if item["type"] in ("model_attributes_type", "missing") and not place:
        return "the body is not a JSON object"
    if item["type"] == "literal_error" and loc[0] != "body":
        given = item["input"] if isinstance(item["input"], str) else None
        what = f"{shown(given)} is unknown; give {item['ctx']['expected']}"
        return printable(redacted(f"{dotted(place)}: {what}"))
    return printable(redacted(source_error(item, place)))


def allowed(app: FastAPI, scope: Scope) -> list[str]:
    """Return the methods of a path; Starlette only names those of the first route."""
    found: set[str] = set()
    for method in METHODS:
        if any(r.matches({**scope, "method": method})[0] is Match.FULL for r in app.routes):
            found.add(method)
    return sorted(found)


def answer_errors(app: FastAPI) -> None:
    """Make an application answer every error in one form."""

    async def on_problem(request: Request, error: Exception) -> Response:
        status, detail, headers = 500, "this should not happen; see the log", None
        if isinstance(error, HTTPException):
            status, detail, headers = error.status_code, str(error.detail), error.headers
            if status == 405:
                headers = {"allow": ", ".join(allowed(app, request.scope))}
        elif isinstance(error, RequestValidationError):
            status, detail = 400, first_error(error.errors())
        return JSONResponse({"error": detail}, status, headers=headers)

    app.add_exception_handler(HTTPException, on_problem)
    app.add_exception_handler(RequestValidationError, on_problem)
