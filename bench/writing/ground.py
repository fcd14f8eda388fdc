"""A fresh server with everyone's tables, and their filling anew between measurements, the same for all."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg import sql

from auditors import Auditor
from auditors.auditor import TABLES
from pgtrail.server.binaries import Binaries, best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo.reference import migrate_with_reference
from stage import Connection
from writing.works import BULK_ROWS, FOLDER, ROWS

DATABASE = "bench"
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "synchronous_commit": "on",
    "max_connections": "100",
    "autovacuum": "off",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """The server.

    :param connection: of the superuser, for what is not measured.
    """

    server: EmbeddedPostgres
    connection: Connection

    def dsn(self, auditor: Auditor) -> str:
        """For a session that writes to the auditor's tables."""
        return self.server.dsn(DATABASE, options=f"-c search_path={auditor.schema}")

    @property
    def copied(self) -> Path:
        """The file of BULK_ROWS rows that COPY reads."""
        return self.server.data_dir / "bench.copy"

    def reset(self, auditor: Auditor, table: str, rows: int) -> None:
        """Empty the logs and put the first rows of the source into the table, without a trigger's being fired."""
        with self.connection.transaction():
            self.connection.execute("set local session_replication_role = replica")
            # All at once, as there are foreign keys among the logs.
            names = (*auditor.logs, *(f"{auditor.schema}.{name}" for name in TABLES))
            self.connection.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(map(_qualified, names))))
            self.connection.execute(
                sql.SQL("insert into {} select * from {} where id <= %s order by id").format(
                    sql.Identifier(auditor.schema, table), sql.Identifier("source", table)
                ),
                [key(rows)],
            )
        self.connection.execute(
            sql.SQL("vacuum (analyze) {}").format(sql.Identifier(auditor.schema, table)), prepare=False
        )

    def log_rows(self, auditor: Auditor) -> int:
        """How many rows the auditor's logs have."""
        count = sql.SQL("select count(*) from {}")
        counts = [self.connection.execute(count.format(_qualified(name))).fetchone() for name in auditor.logs]
        return sum(row[0] for row in counts if row is not None)

    def log_sizes(self, auditor: Auditor) -> dict[str, int]:
        """Bytes of the auditor's logs by heap, indexes and toast (with the toast's index)."""
        row = self.connection.execute((FOLDER / "log_sizes.sql").read_bytes(), {"logs": list(auditor.logs)}).fetchone()
        assert row is not None
        return dict(zip(("heap", "indexes", "toast"), row, strict=True))


def key(number: int) -> UUID:
    """The id of a row by its number."""
    return UUID(f"{number:032}")


@contextmanager
def prepared(
    auditors: Sequence[Auditor], rows: int, folder: str | None, binaries: Binaries | None = None
) -> Iterator[Ground]:
    """A server with one database, where each of the auditors has its tables.

    :param rows: how many api_key can be filled with at most.
    :param folder: where the server's data are for the time being, on a disk and not in memory.
    :param binaries: of the server; without them the best that are found.
    """
    with tempfile.TemporaryDirectory(prefix="pgtrail-bench-", dir=folder) as place:
        Path(place).chmod(0o711)
        with EmbeddedPostgres(Path(place) / "data", binaries or best_binaries(), SETTINGS) as server:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
            migrate_with_reference(server.dsn(DATABASE))
            with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
                ground = Ground(server, connection)
                _make_source(ground, rows)
                for auditor in auditors:
                    _make_tables(connection, auditor)
                    auditor.install(server.dsn(DATABASE))
                yield ground


def _make_source(ground: Ground, rows: int) -> None:
    ground.connection.execute((FOLDER / "tables.sql").read_bytes())
    # Parameters of a statement, which a file of several can't have; they are whole numbers.
    filling = (FOLDER / "rows.sql").read_text()
    ground.connection.execute((filling % {**ROWS, "api_key": rows}).encode())
    ground.connection.execute("vacuum (analyze) source.api_key, source.wide, source.narrow")
    ground.connection.execute(
        sql.SQL("copy (select * from source.api_key where id <= {}) to {}").format(key(BULK_ROWS), str(ground.copied))
    )


def _make_tables(connection: Connection, auditor: Auditor) -> None:
    connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(auditor.schema)))
    for table in TABLES:
        name = sql.Identifier(auditor.schema, table)
        like = sql.SQL("create table if not exists {} (like {} including defaults including indexes)")
        connection.execute(like.format(name, sql.Identifier("source", table)))
        connection.execute(sql.SQL("alter table {} set (fillfactor = 70)").format(name))


def _qualified(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))
