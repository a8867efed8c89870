"""Logs are JSON lines on standard output, one event each, so that a reading can be followed through every service.

`extra={"household": …, "sequence": …}` on a log call becomes fields of the line. Values under names that hold secrets
are refused, so that a careless call cannot leak one.
"""

import logging
import os
import sys

from pythonjsonlogger.json import JsonFormatter

_SECRET_FIELDS = frozenset({"credentials", "token", "seed", "password", "cookie", "authorization", "grant"})


class _Formatter(JsonFormatter):
    def __init__(self, process: str) -> None:
        super().__init__(
            "{levelname}{name}{message}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"process": process},
            timestamp="time",
        )

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        for field in _SECRET_FIELDS & log_data.keys():
            log_data[field] = "(hidden)"


def configure(process: str, level: int | str | None = None) -> None:
    """Sends this process's logs to standard output as JSON lines that carry the name `process`.

    level: by default what WATTFLEET_LOG_LEVEL says, else INFO. DEBUG follows every single reading.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter(process))
    level = level or os.environ.get("WATTFLEET_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "nats", "uvicorn.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
