"""The application of the live page and the HTTP API: all routes, behind the guard."""

import importlib.metadata

from fastapi import FastAPI
from starlette.types import ASGIApp

from .api_docs import docs_routes
from .api_events import event_routes
from .api_health import health_routes
from .api_login import login_routes
from .api_page import page_routes
from .api_socket import socket_routes
from .api_sources import source_routes
from .api_status import status_routes
from .api_stream import stream_routes
from .web_errors import answer_errors
from .web_security import Guard
from .web_state import Web
from .web_tokens import Tokens

DESCRIPTION = """Who plays what, when and where: live and in the past.

Errors are one line: `{"error": "..."}`. With a token in the configuration, send
`Authorization: Bearer TOKEN`. Times are Unix seconds, or media seconds of the source.
"""


def make_api(web: Web, tokens: Tokens) -> FastAPI:
    """Return the application without its guard.

    Parameters
    ----------
    web : Web
    tokens : Tokens
        That `/api/login` checks.
    """
    app = FastAPI(
        title="Playspot",
        version=importlib.metadata.version("playspot"),
        description=DESCRIPTION,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    answer_errors(app)
    secure = web.job.config.certificate is not None
    for router in (
        status_routes(web),
        source_routes(web),
        event_routes(web),
        stream_routes(web),
        health_routes(web),
        login_routes(tokens, is_secure=secure),
        page_routes(),
        socket_routes(web),
        docs_routes(app),
    ):
        app.include_router(router)
    return app


def make_app(web: Web) -> ASGIApp:
    """Return the application that is served."""
    tokens = Tokens(web.job.config.token)
    return Guard(make_api(web, tokens), web.job.config, tokens)
