"""One auditor at one work: from a fresh state to its figures."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from auditors import Auditor
from stage import Connection, transactions
from writing.ground import Ground, key
from writing.works import BULK_ROWS, ROWS, Bulk, Clients, Script, Single, Work

Measured = Iterator[tuple[str, str, float]]
"""The work's name, the unit, the value."""
WARM_UP = 500
COUNTED = 1_000
"""Transactions whose cost is reported, after those of the warm-up."""
DELETES_A_SECOND = 120_000
"""How many rows are there to be deleted, for each second: twice what is deleted, as some clients are faster."""


def rows_needed(works: list[Work], seconds: int) -> int:
    """Of api_key, at most."""
    deletes = [work for work in works if isinstance(work, Clients) and work.script.consumes]
    return max(BULK_ROWS, DELETES_A_SECOND * seconds if deletes else 0)


def measure(ground: Ground, auditor: Auditor, work: Work, seconds: int) -> Measured:
    """Its figures, out of a table filled anew and an empty log."""
    match work:
        case Clients():
            yield work.name, "transactions/s", _clients(ground, auditor, work, seconds)
        case Bulk():
            yield work.name, "rows/s", _bulk(ground, auditor, work)
        case Single():
            yield from _single(ground, auditor, work.script)


def _clients(ground: Ground, auditor: Auditor, work: Clients, seconds: int) -> float:
    script = work.script
    rows = min(DELETES_A_SECOND, 30_000 * work.clients) * seconds if script.consumes else ROWS[script.table]
    share = rows // work.clients
    ground.reset(auditor, script.table, rows)
    variables = {"rows": rows, "share": share, "i": 0}
    options = [part for name, value in variables.items() for part in ("-D", f"{name}={value}")]
    speed = transactions(
        ground.server, ground.dsn(auditor), script.path, work.clients, seconds, "-M", "prepared", *options
    )
    if script.consumes:
        _check_supply(ground, auditor, script, [share * (client + 1) for client in range(work.clients)])
    return speed


def _check_supply(ground: Ground, auditor: Auditor, script: Script, last: list[int]) -> None:
    """A client that came to the end of its share would have deleted nothing from there on."""
    found = ground.connection.execute(
        sql.SQL("select count(*) from {} where id = any(%s)").format(sql.Identifier(auditor.schema, script.table)),
        [[key(number) for number in last]],
    ).fetchone()
    if found != (len(last),):
        raise SystemExit(f"{auditor.name}: the rows to be deleted did not suffice; raise DELETES_A_SECOND")


def _bulk(ground: Ground, auditor: Auditor, work: Bulk) -> float:
    ground.reset(auditor, "api_key", BULK_ROWS if work.filled else 0)
    statement = work.statement % {
        "last": f"'{key(BULK_ROWS)}'",
        "file": f"'{ground.copied}'",
    }
    with psycopg.connect(ground.dsn(auditor), autocommit=True) as connection:
        started = time.monotonic()
        done = connection.execute(statement.encode())
        took = time.monotonic() - started
    assert done.rowcount == BULK_ROWS
    return BULK_ROWS / took


def _single(ground: Ground, auditor: Auditor, script: Script) -> Measured:
    ground.reset(auditor, script.table, ROWS[script.table])
    empty = ground.log_sizes(auditor)
    with psycopg.connect(ground.dsn(auditor), autocommit=True, prepare_threshold=0) as connection:
        execute = _statement(connection, script)
        clock = Path(f"/proc/{connection.info.backend_pid}/schedstat")
        ground.connection.execute("checkpoint")
        # The first time that a page is changed after a checkpoint, all of it goes into the WAL. So the same rows twice.
        for number in range(1, WARM_UP + 1):
            execute(number)
        position, busy = _wal_position(ground), _nanoseconds(clock)
        for number in range(1, COUNTED + 1):
            execute(number + WARM_UP if script.consumes else number % WARM_UP + 1)
        busy = _nanoseconds(clock) - busy
        position = _wal_position(ground) - position
    yield f"{script.operation}, processor time", "µs", busy / 1000 / COUNTED
    yield f"{script.operation}, WAL", "bytes", position / COUNTED
    yield f"{script.operation}, log rows", "rows", ground.log_rows(auditor) / (WARM_UP + COUNTED)
    for part, size in ground.log_sizes(auditor).items():
        yield f"{script.operation}, log {part}", "bytes", (size - empty[part]) / (WARM_UP + COUNTED)


def _statement(connection: Connection, script: Script) -> Callable[[int], object]:
    """What runs a script's statement for a row's number, as psycopg prepares it."""
    lines = [line for line in script.path.read_text().splitlines() if not line.startswith("\\")]
    statement = re.sub(r"(?<!:):n\b", "%(n)s", "\n".join(lines)).encode()
    return lambda number: connection.execute(statement, {"n": str(number)})


def _nanoseconds(clock: Path) -> int:
    return int(clock.read_text().split()[0])


def _wal_position(ground: Ground) -> int:
    row = ground.connection.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(row[0])
