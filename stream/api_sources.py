"""Sources: which there are, how they are, one more, one less, and a picture of now."""

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field, WrapValidator
from starlette.concurrency import run_in_threadpool

from .config import SourceConfig
from .config_model import MAX_SIDE, MIN_SIDE, NAME_PATTERN, Name
from .locator import parse_locator, redacted
from .status import SourceStatus
from .web_errors import CHANGING, errors
from .web_pictures import NoPictureError
from .web_requests import RefusedError
from .web_state import Web

SHOWN_WITHIN = 3.0  # seconds until a change shows in the statuses, which come once a second
STATUS_OF = {"invalid": 400, "exists": 409, "unknown": 404, "silent": 503}
JPEG: dict[int | str, dict[str, Any]]
JPEG = {200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}}

SourceName = Annotated[str, PathParameter(pattern=NAME_PATTERN, examples=["stage"])]


class Sources(BaseModel):
    """All sources."""

    sources: list[SourceStatus]


class NewSource(SourceConfig):
    """A source to add: its name, and what the configuration says of a source."""

    name: Name = Field(examples=["stage"])


def _strictly(data: Any, _: Any) -> NewSource:
    # A configuration takes "5" and true for numbers, as people write them; programs do not.
    return NewSource.model_validate_json(json.dumps(data), strict=True)


class AddedSource(BaseModel):
    """A source that was added."""

    name: str
    url: str
    """Without credentials."""


def source_routes(web: Web) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/sources", tags=["sources"])

    @routes.get("", summary="Sources", responses=errors())
    async def sources() -> Sources:
        """Return how each source is."""
        return Sources(sources=list(web.live.sources.values()))

    @routes.post("", status_code=201, summary="Add", responses=errors(*CHANGING, 409, 503))
    async def add(source: Annotated[NewSource, WrapValidator(_strictly)]) -> AddedSource:
        """Add a source; it is watched from now on, and in later runs.

        Files only from the folder `media` of the configuration.
        """
        config = source.model_dump(mode="json", exclude={"name"}, exclude_unset=True)
        locator = parse_locator(source.url)
        if locator.scheme == "file":
            config["url"] = str(await run_in_threadpool(_media_file, web, locator.address))
        await _ask(web, "add", source.name, config)
        return AddedSource(name=source.name, url=redacted(source.url))

    @routes.get("/{name}", summary="Source", responses=errors(400, 404))
    async def source(name: SourceName) -> SourceStatus:
        """Return how a source is."""
        if name not in web.live.sources:
            raise HTTPException(404, f"no source {name}")
        return web.live.sources[name]

    @routes.delete(
        "/{name}", status_code=204, summary="Remove", responses=errors(400, 404, 409, 503)
    )
    async def remove(name: SourceName) -> Response:
        """Stop watching a source."""
        await _ask(web, "remove", name)
        return Response(status_code=204)

    @routes.get(
        "/{name}/snapshot.jpg",
        summary="Picture of now",
        response_class=Response,
        responses={**errors(400, 404, 503), **JPEG},
    )
    async def snapshot(
        name: SourceName, side: Annotated[int, Query(ge=MIN_SIDE, le=MAX_SIDE)] = 1280
    ) -> Response:
        """Return the next picture of a source, its longer side at most `side` pixels."""
        if name not in web.live.sources:
            raise HTTPException(404, f"no source {name}")
        try:
            jpeg = await web.pictures.now(name, side)
        except NoPictureError as error:
            raise HTTPException(503, str(error)) from None
        return Response(jpeg, media_type="image/jpeg")

    return routes


async def _ask(web: Web, op: str, name: str, config: dict[str, object] | None = None) -> None:
    """Ask the supervisor; return once the status of the run shows it."""
    try:
        await web.requests.ask(op, name, config)
    except RefusedError as error:
        raise HTTPException(STATUS_OF.get(error.code, 400), redacted(error)) from None
    deadline = time.monotonic() + SHOWN_WITHIN
    while (name in web.live.sources) != (op == "add") and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


def _media_file(web: Web, address: str) -> Path:
    """Return the file that is meant, links followed; raises for what is not in the folder."""
    media = web.job.config.media
    if media is None:
        raise HTTPException(
            403, "files may not be added over HTTP; set `media` of web to their folder"
        )
    try:
        folder = media.resolve(strict=True)
        path = (folder / address).resolve(strict=True)
        is_there = path.is_relative_to(folder) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        is_there = False
    if not is_there:
        raise HTTPException(400, "url: no such file in the folder `media` of web")
    return path
