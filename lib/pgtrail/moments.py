"""Times that Postgres has and Python has not: infinite, before the year 1, after the year 9999."""

from datetime import UTC, datetime

import psycopg
from psycopg.types.datetime import TimestamptzLoader

AFTER = datetime.max.replace(tzinfo=UTC)
BEFORE = datetime.min.replace(tzinfo=UTC)


class Timestamps(TimestamptzLoader):
    """Loads a time that Python has none for as the first or the last that it has."""

    def load(self, data: bytes | bytearray | memoryview) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _nearest(bytes(data).decode())


def from_json(text: str) -> datetime:
    """The same of a time in JSON that Postgres wrote."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _nearest(text)


def _nearest(text: str) -> datetime:
    return BEFORE if text.startswith("-") or text.endswith("BC") else AFTER


def shown(moment: datetime, form: str) -> str:
    """A time in the local time zone."""
    if moment in (AFTER, BEFORE):
        return "after the year 9999" if moment == AFTER else "before the year 1"
    try:
        return moment.astimezone().strftime(form)
    except (OverflowError, ValueError):
        return moment.strftime(form)
