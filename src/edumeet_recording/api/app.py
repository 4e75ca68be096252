"""Puts the API together."""

from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse

from edumeet_recording.api import (
    downloads,
    errors,
    health,
    links,
    metrics,
    nodes,
    recordings,
    reference,
    replicas,
    reports,
    scaling,
    tenants,
    watch,
    webhooks,
)
from edumeet_recording.api.body_guard import BodyGuard
from edumeet_recording.api.deps import ApiDeps
from edumeet_recording.api.health import Prober
from edumeet_recording.wire.views import Problem

VERSION = version("edumeet-recording")
DESCRIPTION = "Records eduMEET video conferences: places recordings on FFmpeg nodes, watches over them, delivers files."


def create_app(deps: ApiDeps) -> FastAPI:
    """The REST API, the watchers' WebSocket, and the links of nodes and room servers."""
    app = bare_app()
    app.state.deps = deps
    app.state.prober = Prober(deps.checks)
    app.add_middleware(BodyGuard, max_body_bytes=deps.settings.max_body_bytes)
    errors.install(app)
    return app


def bare_app() -> FastAPI:
    """The endpoints without what they act through: enough to describe them."""
    app = FastAPI(
        title="eduMEET Recording Orchestrator", version=VERSION, description=DESCRIPTION, docs_url=None, redoc_url=None
    )
    parts = (
        recordings,
        reports,
        downloads,
        nodes,
        replicas,
        metrics,
        scaling,
        health,
        links,
        watch,
        webhooks,
        tenants,
    )
    for part in parts:
        app.include_router(part.router)
    app.openapi = lambda: openapi_of(app)

    @cache
    def text() -> str:
        return reference.page(openapi_of(app))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:  # no coroutine: the first one takes its time, in a thread
        return HTMLResponse(text(), headers={"Content-Security-Policy": reference.SECURITY_POLICY})

    return app


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with every error as a problem document in place of FastAPI's own error bodies."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    answer = {
        "description": "A problem document (RFC 9457)",
        "content": {errors.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = answer
    app.openapi_schema = document
    return document
