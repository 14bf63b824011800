"""The live page and its assets, as they lie in the package."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response
from fastapi import Path as PathParameter

FOLDER = Path(__file__).parent
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    kind: str
    tag: str


def page_assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """Return the files of the page by name: those that are called `page*`, of known kinds."""
    found = {}
    for path in sorted(folder.glob("page*")):
        if path.suffix in KINDS and path.is_file():
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found[path.name] = Asset(content, KINDS[path.suffix], tag)
    return found


def page_routes() -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)
    assets = page_assets()  # a name that is asked for is looked up here, and never in the files

    @routes.get("/")
    async def page(if_none_match: Annotated[str, Header()] = "") -> Response:
        return _answer("page.html", if_none_match)

    @routes.get("/assets/{name}")
    async def asset(
        name: Annotated[str, PathParameter()], if_none_match: Annotated[str, Header()] = ""
    ) -> Response:
        return _answer(name, if_none_match)

    @routes.get("/favicon.ico")
    async def icon(if_none_match: Annotated[str, Header()] = "") -> Response:
        return _answer("page.svg", if_none_match)

    def _answer(name: str, known: str) -> Response:
        asset = assets.get(name)
        if asset is None:
            raise HTTPException(404, "no such page")
        headers = {"etag": asset.tag, "cache-control": "no-cache"}  # asked for, seldom sent
        if known == asset.tag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, headers=headers, media_type=asset.kind)

    return routes
