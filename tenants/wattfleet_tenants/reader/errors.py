"""Every error as a problem document (RFC 9457), translated in this one place. Nothing internal shows through."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wattfleet_tenants.grants import NotGranted
from wattfleet_tenants.ports import BadRequest, Unavailable

logger = logging.getLogger(__name__)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem document with that HTTP status."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Makes `app` answer every error as a problem document."""
    app.add_exception_handler(NotGranted, _not_granted)
    app.add_exception_handler(BadRequest, _bad_request)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


def _not_granted(_: Request, error: Exception) -> JSONResponse:
    logger.warning("not granted", extra={"why": str(error)})
    return problem(401, "a valid grant for this household is needed", {"WWW-Authenticate": "Bearer"})


def _bad_request(_: Request, error: Exception) -> JSONResponse:
    return problem(422, str(error))


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    logger.error("cannot answer", extra={"why": str(error)})
    return problem(503, "the store does not answer now", {"Retry-After": "5"})


def _invalid(_: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return problem(422, "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in found))


def _http(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return problem(status, HTTPStatus(status).description or HTTPStatus(status).phrase)


def _unforeseen(_: Request, error: Exception) -> JSONResponse:
    logger.error("unforeseen error", exc_info=error)
    return problem(500, "something went wrong here; it is in the log")
