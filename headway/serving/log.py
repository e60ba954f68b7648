"""One JSON object a line on standard error: for starts, table swaps and errors, never for a request that went well."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "event": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line | getattr(record, "facts", {})).decode()


def log_to_stderr() -> None:
    """Everything of this package; of others, what went wrong."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    logging.getLogger("headway").setLevel(logging.INFO)
