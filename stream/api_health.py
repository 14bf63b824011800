"""Whether the program lives and is of use, and its figures for Prometheus."""

from collections import Counter
from typing import Literal

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel

from .metrics import render
from .metrics_text import CONTENT_TYPE
from .web_errors import errors
from .web_state import Web


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """That detections are made."""

    status: Literal["ready"] = "ready"
    live: list[str]
    """Sources that play."""
    building: float | None = None
    """How much of the plans of another engine is built, 0 to 1; detections are made meanwhile."""


def health_routes(web: Web) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["health"])
    of = errors(503)  # none needs a token

    @routes.get("/healthz", summary="Alive", responses={403: of[403]})
    async def healthz() -> Health:
        """Return that the process lives; needs no token."""
        return Health()

    @routes.get("/readiness", summary="Ready", responses={403: of[403], 503: of[503]})
    async def readiness() -> Readiness:
        """Return that models are loaded, the run answers, and a source plays; needs no token."""
        if not web.live.is_fresh:
            raise HTTPException(503, "the run has not been heard of for a while")
        playing = [name for name, source in web.live.sources.items() if source.state == "live"]
        if not playing:
            raise HTTPException(503, "no source is live")
        run = web.live.run
        return Readiness(live=playing, building=None if run is None else run.building)

    @routes.get(
        "/metrics",
        summary="Figures",
        response_class=Response,
        responses={
            **errors(503),
            200: {"content": {"text/plain": {}}, "description": "Prometheus text."},
        },
    )
    async def metrics() -> Response:
        """Return all figures as text for Prometheus."""
        run = web.live.run
        if run is None:
            raise HTTPException(503, "the run has not been heard of yet")
        text = render(
            run,
            web.live.sources,
            web.measures,
            rates=web.live.rates,
            events=web.live.n_events,
            clients=Counter(client.way for client in web.live.clients),
        )
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return routes
