"""What goes wrong, said once: every error leaves as a problem document (RFC 9457), and none tells of our insides.

Code raises a `Problem`, which is an HTTP status and a sentence for the person who reads it. This module alone turns
problems, the framework's own errors, the data plane's errors and the unforeseen into answers.
"""

import html
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from wattfleet_tenants.ports import BadRequest, Unavailable

from wattfleet_gateway.database import words

logger = logging.getLogger(__name__)

_RETRY_AFTER_S = "5"


class Problem(Exception):
    """An error that a client is told about: `detail` is a sentence without anything of our insides."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class SignedOut(Problem):
    """There is no session that holds."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, "Sign in first.")


class NotFound(Problem):
    """There is no such thing, or it is somebody else's: which of the two is not told."""

    def __init__(self, what: str = "page") -> None:
        super().__init__(HTTPStatus.NOT_FOUND, f"There is no such {what}.")


class ProblemDocument(BaseModel):
    """The body of every error answer, as RFC 9457 has it. errors: what is wrong with which part of the request."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """How an endpoint's error answers look, for its OpenAPI description."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status.value: {"description": status.phrase, "content": content} for status in statuses}


def problem_answer(
    status: HTTPStatus,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer that carries a problem document."""
    document: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    if errors:
        document["errors"] = list(errors)
    return JSONResponse(document, status, media_type="application/problem+json", headers=headers)


def install(app: FastAPI) -> None:
    """Makes `app` answer every error as a problem, and its OpenAPI document say so."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas[ProblemDocument.__name__] = ProblemDocument.model_json_schema()
        return document

    app.openapi = described  # type: ignore[method-assign] # as FastAPI documents it

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        if request.scope["path"].startswith("/auth/") and "text/html" in request.headers.get("accept", ""):
            return _page(error)
        return problem_answer(error.status, error.detail)

    @app.exception_handler(HTTPException)
    async def framework(_request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        return problem_answer(status, f"{status.phrase}.", headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        details = [
            {"where": ".".join(str(part) for part in found["loc"]), "what": str(found["msg"])}
            for found in error.errors()
        ]
        return problem_answer(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not as it should be.", details)

    @app.exception_handler(BadRequest)
    async def refused(_request: Request, error: BadRequest) -> Response:
        return problem_answer(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    @app.exception_handler(Unavailable)
    async def unavailable(_request: Request, error: Unavailable) -> Response:
        logger.warning("readings unavailable", extra={"error": str(error)})
        return _try_again_soon("The readings cannot be reached right now. Try again soon.")

    @app.exception_handler(OperationalError)
    @app.exception_handler(NoConnection)
    async def database_unavailable(_request: Request, error: SQLAlchemyError) -> Response:
        logger.warning("database unavailable", extra={"error": words(error)})
        return _try_again_soon("Wattfleet cannot look up whose homes are whose right now. Try again soon.")


def _try_again_soon(detail: str) -> JSONResponse:
    return problem_answer(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": _RETRY_AFTER_S})


def _page(error: Problem) -> HTMLResponse:
    # Sign-in is walked by people in a browser, so its errors are readable there.
    title, detail = html.escape(error.status.phrase), html.escape(error.detail)
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<h1>{title}</h1><p>{detail}</p><p><a href="/">Back to Wattfleet</a></p></html>',
        error.status,
    )
