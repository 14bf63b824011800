"""Login of people: the token once, then a cookie."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from .web_errors import CHANGING, errors
from .web_tokens import COOKIE, SESSION_TIME, Tokens, address_of


class Login(BaseModel):
    """The token of the configuration."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: Annotated[str, Field(max_length=4096, repr=False, examples=["a-long-secret-token"])]


def login_routes(tokens: Tokens, *, is_secure: bool) -> APIRouter:
    """Return the routes.

    Parameters
    ----------
    tokens : Tokens
    is_secure : bool
        Whether the page is served under TLS.
    """
    routes = APIRouter(tags=["login"])

    @routes.post(
        "/api/login",
        status_code=204,
        summary="Log in",
        responses=errors(*CHANGING, 429),
    )
    def login(request: Request, login: Login) -> Response:
        """Show the token; the cookie that comes back does for all else, for 30 days."""
        tokens.check(login.token, address_of(request.scope))
        response = Response(status_code=204)
        if tokens.is_needed:
            response.set_cookie(
                COOKIE,
                tokens.session(),
                max_age=SESSION_TIME,
                httponly=True,
                samesite="strict",
                secure=is_secure,
            )
        return response

    @routes.post("/api/logout", status_code=204, summary="Log out", responses=errors())
    def logout() -> Response:
        """Forget the cookie."""
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=is_secure)
        return response

    return routes
