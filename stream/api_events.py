"""Events of the past and of now: a page of a search, one of them, its picture, its clip."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from .database import DatabaseError
from .history import MAX_VALUES, MOST, History
from .locator import redacted
from .recording_files import Kind, find
from .stored_event import StoredEvent
from .web_errors import errors
from .web_state import Web

ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}$"
LAST_TIME = 253_402_300_800.0  # the year 10000

EventId = Annotated[str, PathParameter(pattern=ID_PATTERN, examples=["stage.1f3a9c2e.42"])]
Time = Annotated[float | None, Query(ge=0, le=LAST_TIME, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=256)]
KINDS: tuple[Kind, ...] = ("snapshot", "clip")


class Events(BaseModel):
    """A page of events, the newest first."""

    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True, use_attribute_docstrings=True
    )

    events: list[StoredEvent]
    next: str | None
    """The `cursor` of the next page; null on the last one."""


def event_routes(web: Web) -> APIRouter:
    """Return the routes; they work in threads, since they wait for the disk."""
    routes = APIRouter(prefix="/api/events", tags=["events"])
    folder = web.job.recordings

    @routes.get("", summary="Search", responses=errors(400, 404, 503))
    def search(
        source: Annotated[tuple[Name, ...], Query(max_length=MAX_VALUES)] = (),
        label: Annotated[tuple[Name, ...], Query(max_length=MAX_VALUES)] = (),
        since: Annotated[Time, Query(alias="from", examples=[1_760_000_000])] = None,
        until: Annotated[Time, Query(alias="to", examples=[1_760_086_400])] = None,
        min_score: Annotated[float, Query(ge=0, le=1)] = 0.0,
        state: Literal["open", "ended"] | None = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
        cursor: Annotated[str | None, Query(max_length=1000)] = None,
    ) -> Events:
        """Return a page of events, the newest first.

        `source` and `label` may be repeated; `from` and `to` bound the beginning (Unix seconds),
        `min_score` the best score. The next page has the same parameters and `cursor`.
        """
        try:
            found, following = store().search(
                source,
                label,
                began_after=since,
                began_before=until,
                min_score=min_score,
                state=state,
                limit=limit,
                cursor=cursor,
            )
        except ValueError as error:  # all other bounds were checked
            raise HTTPException(404, str(error)) from None
        except DatabaseError as error:
            raise HTTPException(503, redacted(error)) from None
        return Events(events=[with_files(event) for event in found], next=following)

    @routes.get("/{id}", summary="Event", responses=errors(400, 404, 503))
    def event(id: EventId) -> StoredEvent:
        """Return an event."""
        try:
            found = store().get(id)
        except DatabaseError as error:
            raise HTTPException(503, redacted(error)) from None
        if found is None:
            raise HTTPException(404, f"no event {id}")
        return with_files(found)

    @routes.get(
        "/{id}/snapshot.jpg",
        summary="Picture of an event",
        response_class=Response,
        responses=errors(400, 404) | _file("image/jpeg", "A JPEG."),
    )
    def snapshot(id: EventId) -> Response:
        """Return the picture of the moment with the best score."""
        return recorded(id, "snapshot", "image/jpeg")

    @routes.get(
        "/{id}/clip.mp4",
        summary="Clip of an event",
        response_class=Response,
        responses=errors(400, 404) | _file("video/mp4", "An MP4; parts of it by `Range`."),
    )
    def clip(id: EventId) -> Response:
        """Return the film of an event."""
        return recorded(id, "clip", "video/mp4")

    def store() -> History:
        if web.job.database is None:
            raise HTTPException(503, "there is no history: give `database` in the configuration")
        return History(web.job.database)

    def with_files(event: StoredEvent) -> StoredEvent:
        if folder is None:
            return event
        has = {f"has_{kind}": find(folder, event, kind) is not None for kind in KINDS}
        return event.model_copy(update=has)

    def recorded(id: str, kind: Kind, media_type: str) -> Response:
        path = None if folder is None else find(folder, id, kind)
        if path is None:
            raise HTTPException(404, f"no {kind} of {id}")
        try:
            found = path.stat()
        except OSError:
            raise HTTPException(404, f"the {kind} of {id} has just been removed") from None
        # A clip never changes; a snapshot does while a better moment may come.
        headers = {"cache-control": "private, max-age=3600" if kind == "clip" else "no-cache"}
        return FileResponse(path, headers=headers, media_type=media_type, stat_result=found)

    return routes


def _file(kind: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {}}, "description": description}}
