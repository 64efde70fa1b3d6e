"""The log of a running house: one JSON object a line on stderr, also of what libraries say.

Rule kept here: of an error its type and the lines that it came by are logged, never its words or what variables
held: they may be amounts, keys or bodies of requests. ``server/watch.py`` says the same of calls.
"""

import json
import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.tracebacks import extract
from structlog.typing import EventDict, ExcInfo, Processor

_encode = json.JSONEncoder(default=str).encode


def configure(level: str) -> None:
    """Log from ``level`` on, what the house says and, from warnings on, what libraries say."""
    write_lines(level, sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_bare, _line], foreign_pre_chain=_SHARED)
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def write_lines(level: str, to: TextIO) -> None:
    """Have what the house says written to ``to``."""
    structlog.configure(
        processors=[*_SHARED, _line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(to),
        cache_logger_on_first_use=True,
    )


def _traceback(exc_info: ExcInfo) -> list[dict[str, object]]:
    """Types and lines, the last error first."""
    return [
        {"type": stack.exc_type, "frames": [f"{f.filename}:{f.lineno} {f.name}" for f in stack.frames]}
        for stack in extract(*exc_info, show_locals=False, use_rich=False).stacks
    ]


def _line(_logger: object, _method: str, event: EventDict) -> str:
    return _encode(event)


def _bare(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A library's line without what the formatter adds for itself."""
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


_SHARED: Sequence[Processor] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.ExceptionRenderer(_traceback),
)
