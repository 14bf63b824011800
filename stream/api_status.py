"""How the run is, what it sees at this moment, what it is, and the schemas of its records."""

import importlib.metadata
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from .config_model import NAME_PATTERN
from .events import SCHEMA, STEP_SCHEMA, Event, LiveStep
from .schemas import SchemaName, schema_of
from .status import STATUS_SCHEMA, RunStatus, SourceStatus
from .web_errors import errors
from .web_replay import ReplayError
from .web_state import Web


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Version(_Answer):
    """Which program, and which versions of its records."""

    version: str = Field(examples=["0.2.0"])
    schemas: dict[str, str] = Field(examples=[{"event": SCHEMA, "status": STATUS_SCHEMA}])


class WholeStatus(_Answer):
    """How the run and its sources are, as last heard."""

    run: RunStatus | None
    sources: list[SourceStatus]


class LiveState(_Answer):
    """What is played at this moment."""

    open: list[Event]
    steps: dict[str, LiveStep]


class Replay(_Answer):
    """Events of a source in this run, in the order of `seq`."""

    system_id: str
    oldest: int | None
    next: int
    events: list[Event]


def status_routes(web: Web) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", tags=["status"])

    @routes.get("/version", summary="Version", responses=errors())
    def version() -> Version:
        """Return the version of the program."""
        return Version(
            version=importlib.metadata.version("playspot"),
            schemas={"event": SCHEMA, "step": STEP_SCHEMA, "status": STATUS_SCHEMA},
        )

    @routes.get("/status", summary="Status", responses=errors())
    async def status() -> WholeStatus:
        """Return how the run, its processes and its sources are."""
        return WholeStatus(run=web.live.run, sources=list(web.live.sources.values()))

    @routes.get("/live", summary="Live state", response_model=LiveState, responses=errors())
    async def live() -> Response:
        """Return the open events and the last step of each source."""
        opened = ",".join(told.body for told in web.live.open_events())
        steps = ",".join(f'"{name}":{body}' for name, body in web.live.steps().items())
        body = f'{{"open":[{opened}],"steps":{{{steps}}}}}'
        return Response(body, media_type="application/json")

    @routes.get("/replay", summary="Replay", response_model=Replay, responses=errors(400, 404, 503))
    async def replay(
        source: Annotated[str, Query(pattern=NAME_PATTERN, examples=["stage"])],
        since: Annotated[int, Query(alias="from", ge=0, le=2**53)] = 0,
        until: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> Response:
        """Return events of this run again, at most 500, from `from` and before `until`.

        For more, ask again from the one after the last; `next` is the one that comes next.
        """
        if source not in web.live.sources:
            raise HTTPException(404, f"no source {source}")
        try:
            found = await web.live.replays.fetch(source, since, until)
        except ReplayError as error:
            raise HTTPException(503, str(error)) from None
        state = TypeAdapter(dict[str, Any]).dump_json(
            {"system_id": found.system_id, "oldest": found.oldest, "next": found.next}
        )
        events = ",".join(body for _, body in found.events)
        body = f'{state.decode()[:-1]},"events":[{events}]}}'
        return Response(body, media_type="application/json")

    @routes.get("/schemas/{name}.json", summary="JSON Schemas", responses=errors(400))
    def schema(name: Annotated[SchemaName, Path(examples=["event"])]) -> dict[str, Any]:
        """Return the JSON Schema of a record; `config` is that of the configuration."""
        return schema_of(name)

    return routes
