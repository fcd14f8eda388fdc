"""What an update costs that moves only ignored columns, which a gateway does on every request.

Three tables of the same shape: unaudited; tracked, whose trigger function compares the audited columns and returns;
and one whose trigger has the comparison in a WHEN clause instead, so that no function is entered. Rounds are
interleaved; each figure is the median over the rounds, with the lowest and the highest beside it.

Example:
  python bench/ignored_updates.py --rounds 7 --seconds 3
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psycopg

import results
from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail_cli.demo.reference import migrate_with_reference
from stage import print_beside, transactions

ROWS = 100_000
TABLES = {"unaudited": "nemo.plain", "tracked": "nemo.api_key", "WHEN clause": "nemo.guarded"}
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}


def prepare(dsn: str) -> None:
    """Fill the tables; ignored columns are spend and last_used_at."""
    migrate_with_reference(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
        for name in ("nemo.plain", "nemo.guarded"):
            connection.execute(f"create table {name} (like nemo.api_key including defaults including indexes)")
        audited = [
            row[0]
            for row in connection.execute(
                "select audited.name from audit.tracked_table as tracked, audit_internal.audited_columns(tracked) as audited "
                "where tracked.relation = 'nemo.api_key'::regclass order by audited.number"
            )
        ]
        moved = " or ".join(f"old.{column} is distinct from new.{column}" for column in audited)
        connection.execute(
            f"create trigger guarded after update on nemo.guarded for each row when ({moved}) "
            'execute function audit_internal."capture nemo.api_key update"()'
        )
        connection.execute("alter table nemo.api_key disable trigger pgtrail_insert")
        for name in TABLES.values():
            connection.execute(f"alter table {name} set (fillfactor = 50)")
            connection.execute(
                f"insert into {name} (org_id, name, key_prefix, key_hash, allowed_models, rpm_limit, metadata) "
                "select organization.id, 'key ' || i, 'sk-' || i, md5(i::text), '{gpt-6,claude-5}', i, "
                f"jsonb_build_object('env', 'prod', 'n', i) from nemo.organization, generate_series(1, {ROWS}) as i"
            )
            connection.execute(f"vacuum analyze {name}")
        connection.execute("checkpoint")


def single_rows(server: EmbeddedPostgres, table: str, clients: int, seconds: int) -> float:
    """Transactions a second, each updating one row by its key."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(
            f"\\set n random(1, {ROWS})\n"
            f"update {table} set spend = spend + 0.01, last_used_at = now() where rpm_limit = :n;\n"
        )
        script.flush()
        return transactions(server, server.dsn("bench"), Path(script.name), clients, seconds, "-M", "prepared")


def bulk(connection: psycopg.Connection[tuple[object, ...]], table: str) -> float:
    """Rows a second, all in one statement."""
    started = time.monotonic()
    connection.execute(f"update {table} set spend = spend + 0.01")
    took = time.monotonic() - started
    connection.execute(f"vacuum {table}")
    return ROWS / took


def save(
    singles: dict[int, dict[str, list[float]]], bulks: dict[str, list[float]], major: int, options: argparse.Namespace
) -> None:
    """Keep the figures for the documents."""
    works = {
        f"update of ignored columns, {clients} {'client' if clients == 1 else 'clients'}": ("transactions/s", figures)
        for clients, figures in singles.items()
    }
    works["bulk update of ignored columns"] = ("rows/s", bulks)
    figures = [
        results.Figure(work, variant, unit, values)
        for work, (unit, variants) in works.items()
        for variant, values in variants.items()
    ]
    results.save("ignored_updates", figures, postgres=major, bulk_rows=ROWS, **vars(options))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--commit", choices=["on", "off"], default="on", help="synchronous_commit")
    options = parser.parse_args()
    binaries = best_binaries()
    with tempfile.TemporaryDirectory(prefix="pgtrail-bench-") as folder:
        Path(folder).chmod(0o711)
        settings = SETTINGS | {"synchronous_commit": options.commit}
        with EmbeddedPostgres(Path(folder) / "data", binaries, settings) as server:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute("create database bench")
            prepare(server.dsn("bench"))
            with psycopg.connect(server.dsn("bench"), autocommit=True) as connection:
                for table in TABLES.values():
                    connection.execute(f"create unique index on {table} (rpm_limit)")
                singles: dict[int, dict[str, list[float]]] = {c: defaultdict(list) for c in (1, 8)}
                bulks: dict[str, list[float]] = defaultdict(list)
                for _ in range(options.rounds):
                    for clients, figures in singles.items():
                        for name, table in TABLES.items():
                            figures[name].append(single_rows(server, table, clients, options.seconds))
                    for name, table in TABLES.items():
                        bulks[name].append(bulk(connection, table))
    save(singles, bulks, binaries.major, options)
    print(f"PostgreSQL {binaries.major}, synchronous_commit {options.commit}, {options.rounds} rounds, medians")
    for clients, figures in singles.items():
        print(f"\nupdate of ignored columns, one row a transaction, {clients} clients: transactions/s")
        print_beside(figures, "unaudited")
    print(f"\nupdate of ignored columns, {ROWS:,} rows in one statement: rows/s")
    print_beside(bulks, "unaudited")


if __name__ == "__main__":
    main()
