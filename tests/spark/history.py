"""A database whose months are archived, and what its live views said before."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgtrail.archive.location import Folder
from pgtrail.archive.moving import Target, drop_month, old_months
from pgtrail.connection import Connection, open_connection
from pgtrail.install import migrate
from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres

Row = tuple[Any, ...]

YEAR, MONTHS = 2025, 5
ORG, MONTH = "acme", "2025-03"
"""What the document's example asks for."""
BEFORE = datetime(YEAR, MONTHS + 1, 1, tzinfo=UTC)
EVENTS_A_PART = 100
"""Some hundred events are as many files as millions are with the default."""

ROWS = """
    select
        event.id, event.xid::text::numeric, (extract(epoch from event.occurred_at) * 1000000)::bigint, event.org_id, event.category, event.action,
        event.operation, event.table_name, event.resource_type, event.resource_id, event.resource_label, event.actor_type, event.actor_id,
        event.actor_label, nullif(format('%%s', event.actor_ip), ''), event.user_agent, event.request_id, event.reason, event.db_role, nullif(format('%%s', event.client_addr), ''),
        event.application_name, event.before::text, event.after::text, array_to_json(event.changed)::text, event.imported_from, event.node,
        event.node_id, event.node_xid::text::numeric, log.org_label, audit.row_before(event)::text, log.details::text,
        nullif(summary, log.details)::text, nullif(fields, log.details)::text
    from audit.event
    join audit.log using (id)
    cross join lateral audit_internal.short_details(event.before, event.after, event.changed, 61) as summary
    cross join lateral audit_internal.short_details(event.before, event.after, event.changed, 32001) as fields
    where event.occurred_at < %s
"""
COUNTS = """
    select to_char(occurred_at, 'YYYY-MM'), org_id, action, actor, count(*)
    from audit.log
    where occurred_at < %s
    group by 1, 2, 3, 4
"""
DIFFS = """
    select event_id, field, coalesce(before, 'null')::text, coalesce(after, 'null')::text
    from audit.diff
    where changed and occurred_at < %s
"""
OF_ORG = """
    select id, to_char(occurred_at, 'YYYY-MM') = %s
    from audit.log
    where org_id = %s and occurred_at < %s
"""


@dataclass(frozen=True, slots=True)
class Live:
    """What the views said.

    :param rows: each event with all columns of the archive, in their order; times in microseconds.
    :param counts: events by month, organization, action and actor.
    :param diffs: event, field, value before and after.
    :param of_org: the ids of one organization's events, and those of one month.
    """

    rows: list[Row]
    counts: list[Row]
    diffs: list[Row]
    of_org: list[int]
    of_org_in_month: list[int]


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Connection]:
    """A server of its own, with some months of an application's events, sealed."""
    with EmbeddedPostgres(folder / "data", best_binaries(), {"fsync": "off"}) as server:
        migrate(server.dsn())
        with open_connection(server.dsn()) as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute((Path(__file__).parent / "tables.sql").read_text())
            for month in range(1, MONTHS + 1):
                _write(connection, month)
            while connection.execute("select number from audit.seal() where number is not null").fetchone():
                pass
            yield connection


def _write(connection: Connection, month: int) -> None:
    """A month of events, recorded by the triggers, which take their time from the column's default."""
    begins, ends = (datetime(YEAR, number, 1, tzinfo=UTC) for number in (month, month + 1))
    name = f"event_{begins:%Y_%m}"
    with connection.transaction():
        connection.execute("set local role audit_owner")
        connection.execute(f"create table audit.{name} (like audit.event including defaults including constraints)")
        connection.execute("select audit_internal.attach_partition(%s, %s, %s)", [name, begins, ends])
        connection.execute(
            "alter table audit.event alter column occurred_at set default "
            f"timestamptz '{begins}' + random() * (timestamptz '{ends}' - timestamptz '{begins}')"
        )
        connection.execute("reset role")
        connection.execute("select set_config('shop.month', %s, true)", [str(month)])
        connection.execute((Path(__file__).parent / "month.sql").read_text())
        connection.execute("alter table audit.event alter column occurred_at set default clock_timestamp()")


def read_live(connection: Connection) -> Live:
    """What the views say of the months that will be archived."""
    rows, counts, diffs = (connection.execute(query, [BEFORE]).fetchall() for query in (ROWS, COUNTS, DIFFS))
    ids = connection.execute(OF_ORG, [MONTH, ORG, BEFORE]).fetchall()
    return Live(rows, counts, diffs, [number for number, _ in ids], [number for number, is_then in ids if is_then])


def archive(connection: Connection, place: Path, temp: Path) -> None:
    """Move the months as `pgtrail archive` does, into smaller files."""
    place.mkdir()
    temp.mkdir()
    target = Target(Folder(place), temp, jobs=0, events_a_part=EVENTS_A_PART)
    for month in old_months(connection, BEFORE):
        assert not month.kept_because, month
        drop_month(connection, month.partition, target, before=BEFORE)
    assert connection.execute("select min(occurred_at) >= %s from audit.event", [BEFORE]).fetchone() == (True,)
