"""Own the logs: JSON lines on standard error, denied by default.

Only the keys named here pass, only as short texts and numbers. A record of a foreign library is reduced to its logger's
name and level, because its text may hold anything. Tracebacks name places, never values.
"""

import logging
import sys
import traceback
from typing import Any, Final

import structlog

from common import context

KEYS: Final = frozenset(
    [
        "event",
        "level",
        "time",
        "service",
        "logger",
        "request_id",
        "trace_id",
        "tenant",
        "binding",
        "method",
        "path",
        "status",
        "code",
        "reason",
        "kind",
        "rule",
        "peer",
        "role",
        "duration_ms",
        "attempt",
        "attempts",
        "delay_s",
        "job",
        "count",
        "total",
        "revision",
        "address",
        "error",
        "where",
        "outcome",
        "operation",
        "capability",
        "version",
        "exchange_code",
        "state",
        "lag",
        "signal",
    ]
)
LIMIT: Final = 200


def _allowed(_: Any, __: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
    request = context.current.get()
    if request is not None:
        record.setdefault("request_id", request.request_id)
        record.setdefault("trace_id", request.trace_id)
    return {key: _short(value) for key, value in record.items() if key in KEYS}


def _short(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    return value[:LIMIT] if isinstance(value, str) else type(value).__name__


def places(error: BaseException) -> str:
    """Return where an error was raised as file:line pairs, innermost last, without any value."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return " ".join(f"{frame.filename.rsplit('/src/', 1)[-1]}:{frame.lineno}" for frame in frames)


class _Foreign(logging.Handler):
    """Turn a foreign record of WARNING or above into its logger's name and level."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(
            max(record.levelno, logging.WARNING),
            "foreign_log",
            logger=record.name,
            error=type(error).__name__ if error else None,
            where=places(error) if error else None,
        )


class _Stderr:
    """Write a line to whatever standard error is now."""

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def configure(service: str, level: str = "info") -> None:
    """Send every log of this process through the filter. `level` is debug, info, warning or error."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _allowed,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    logging.basicConfig(handlers=[_Foreign(logging.WARNING)], level=logging.WARNING, force=True)
    _SERVICE["name"] = service


_SERVICE: dict[str, str] = {}


def get() -> structlog.typing.FilteringBoundLogger:
    """Return the process's logger, with the service's name on every line."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(service=_SERVICE.get("name", "unnamed"))
    return logger
