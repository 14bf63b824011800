"""The description of the API: OpenAPI, and a page of it that needs nothing from elsewhere."""

import json
from functools import lru_cache
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Response

from .web_errors import errors
from .web_examples import EXAMPLES
from .web_tokens import COOKIE


def docs_routes(app: FastAPI) -> APIRouter:
    """Return the routes.

    Parameters
    ----------
    app : FastAPI
        That is described.
    """
    routes = APIRouter(tags=["docs"])

    @lru_cache(maxsize=1)
    def description() -> dict[str, Any]:
        api = app.openapi()
        for (method, path), example in EXAMPLES.items():
            answers = api["paths"][path][method]["responses"]
            for content in answers["201" if "201" in answers else "200"]["content"].values():
                content["example"] = example
        api["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        }
        api["security"] = [{}, {"token": []}, {"session": []}]  # none if no token is configured
        return api

    @routes.get("/api/openapi.json", summary="OpenAPI", responses=errors())
    def openapi() -> dict[str, Any]:
        """Return the description of this API."""
        return description()

    @routes.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return Response(_page(description()), media_type="text/html; charset=utf-8")

    return routes


def _page(api: dict[str, Any]) -> str:
    rows = []
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            rows.append(
                f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
                f"<p>{escape(operation.get('description', ''))}</p>"
                f"{_parameters(operation)}{_body(operation, api)}{_answers(operation)}</section>"
            )
    info = api["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title>"
        '<link rel="stylesheet" href="/assets/page_docs.css"></head><body><main>'
        f"<h1>{escape(info['title'])} API, {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])}</p>"
        '<p><a href="/api/openapi.json">OpenAPI</a> · <a href="/">Live page</a></p>'
        f"{''.join(rows)}</main></body></html>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    rows = []
    for each in operation.get("parameters", ()):
        schema = each.get("schema", {})
        bounds = {k: v for k, v in schema.items() if k not in ("title", "description", "examples")}
        need = "needed" if each.get("required") else ""
        rows.append(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
            f"<td>{need}</td><td><code>{escape(json.dumps(bounds))}</code></td>"
            f"<td>{escape(each.get('description', ''))}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _body(operation: dict[str, Any], api: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return ""
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    schema = api["components"]["schemas"].get(name, content["schema"])
    fields = "".join(
        f"<tr><td><code>{escape(key)}</code></td>"
        f"<td>{'needed' if key in schema.get('required', ()) else ''}</td>"
        f"<td>{escape(value.get('description', ''))}</td></tr>"
        for key, value in schema.get("properties", {}).items()
    )
    return f"<h3>Body</h3><table>{fields}</table>"


def _answers(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation.get("responses", {}).items()
    )
    return f"<h3>Answers</h3><table>{rows}</table>"
