"""Times that Postgres stores and Python has none for: infinite, before Christ, after the year 9999."""

from datetime import UTC, datetime

import psycopg
from psycopg.types.datetime import TimestamptzLoader

AFTER = datetime.max.replace(tzinfo=UTC)
BEFORE = datetime.min.replace(tzinfo=UTC)


class Timestamps(TimestamptzLoader):
    """Gives the last or the first time that there is for one that is beyond."""

    def load(self, data: bytes | bytearray | memoryview) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            text = bytes(data).decode()
            return BEFORE if text.startswith("-") or text.endswith("BC") else AFTER


def from_json(text: str) -> datetime:
    """A time as it stands in JSON of Postgres; the last or the first one that there is for one that is beyond."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return BEFORE if text.startswith("-") or text.endswith("BC") else AFTER


def shown(moment: datetime, form: str) -> str:
    """A time in the zone of whoever reads it."""
    if moment in (AFTER, BEFORE):
        return "after the year 9999" if moment == AFTER else "before the year 1"
    try:
        return moment.astimezone().strftime(form)
    except (OverflowError, ValueError):
        return moment.strftime(form)
