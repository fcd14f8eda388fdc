"""What tracking LiteLLM's keys by its preset costs the proxy's writer of spend, which moves only ignored columns.

LiteLLM's whole schema in four databases of one server: untracked; tracked by the preset; with the trigger's comparison in
a WHEN clause instead of in its function; and with the trigger on UPDATE OF the audited columns (which does not see what
another trigger changes). The writer's own statement, BATCH keys a transaction, in rounds
that are interleaved, on several servers made anew. Two figures: updates a second; and the processor time that the
server's process takes for one, which what else the machine does blurs far less.

Example:
  python bench/presets.py --servers 3 --rounds 5 --seconds 3
"""

import argparse
import os
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

from pgtrail.connection import open_connection
from pgtrail.install import migrate
from pgtrail.presets import preset_named, tracking
from pgtrail.server.binaries import best_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from stage import print_beside, transactions

KEYS = 20_000
BATCH = 20
MEASURED = 2_000
"""Updates of which the processor time is taken."""
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h", "autovacuum": "off"}
KEY_TABLE = 'on "LiteLLM_VerificationToken" for each row'
FIRING = {
    "when_clause": ("old.%1$I is distinct from new.%1$I", " or ", f"after update {KEY_TABLE} when ({{}})"),
    "update_of": ("%I", ", ", f"after update of {{}} {KEY_TABLE}"),
}
DATABASES = ("untracked", "preset", *FIRING)
UPDATE = """
    update "public"."LiteLLM_VerificationToken"
    set "spend" = ("public"."LiteLLM_VerificationToken"."spend" + {spend}),
        "total_spend" = ("public"."LiteLLM_VerificationToken"."total_spend" + {spend}),
        "last_active" = {now}, "updated_at" = {now}
    where "public"."LiteLLM_VerificationToken"."token" = lpad(({key})::text, 64, '0')
"""
Connection = psycopg.Connection[tuple[object, ...]]


def run_sql(server: EmbeddedPostgres, name: str, text: str) -> None:
    """With psql: each statement by itself."""
    psql = server.binaries.bin_dir / "psql"
    subprocess.run([psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", server.dsn(name)], input=text, text=True, check=True)


def fill(server: EmbeddedPostgres, name: str, connection: Connection) -> None:
    """LiteLLM's schema and its keys, each of a team."""
    package = find_spec("litellm_proxy_extras")
    assert package is not None
    assert package.submodule_search_locations is not None
    files = sorted(Path(package.submodule_search_locations[0]).glob("migrations/*/migration.sql"))
    run_sql(server, name, ";\n".join(file.read_text() for file in files))
    connection.execute(
        """
        insert into "LiteLLM_TeamTable" (team_id, team_alias, updated_at)
        select 't' || i, 'team ' || i, now() from generate_series(0, 99) as i
        """
    )
    connection.execute(
        """
        insert into "LiteLLM_VerificationToken" (token, key_alias, key_name, models, metadata, rpm_limit, team_id, user_id)
        select lpad(i::text, 64, '0'), 'key ' || i, 'sk-...' || i, '{gpt-6,claude-5}',
            jsonb_build_object('tags', jsonb_build_array('prod', i)), i, 't' || mod(i, 100), 'user ' || i
        from generate_series(1, %s) as i
        """,
        [KEYS],
    )


def fire_only(connection: Connection, clause: str, separator: str, occasion: str) -> None:
    """Let Postgres itself decide whether to call the trigger's function, instead of the function.

    :param clause: for each audited column, parted by the separator; in the occasion as {}.
    """
    row = connection.execute(
        """
        select string_agg(format(%s, audited.name), %s order by audited.number)
        from audit.tracked_table as tracked, audit_internal.audited_columns(tracked) as audited
        where tracked.relation = %s::regclass
        """,
        [clause, separator, '"LiteLLM_VerificationToken"'],
    ).fetchone()
    assert row is not None
    connection.execute(
        f"create or replace trigger pgtrail_update {occasion.format(row[0])} "
        'execute function audit_internal."capture public.""LiteLLM_VerificationToken"" update"()'
    )


@contextmanager
def filled_server(commit: str) -> Iterator[EmbeddedPostgres]:
    """A server made anew with the databases."""
    with tempfile.TemporaryDirectory(prefix="pgtrail-bench-") as folder:
        Path(folder).chmod(0o711)
        settings = SETTINGS | {"synchronous_commit": commit}
        with EmbeddedPostgres(Path(folder) / "data", best_binaries(), settings) as server:
            before = None
            for name in DATABASES:
                with psycopg.connect(server.dsn(), autocommit=True) as connection:
                    connection.execute(f"create database {name} template {before or 'template1'}")
                before = name
                with psycopg.connect(server.dsn(name), autocommit=True) as connection:
                    if name == "untracked":
                        fill(server, name, connection)
                    elif name == "preset":
                        migrate(server.dsn(name))
                        with open_connection(server.dsn(name)) as command:
                            text = tracking(command, preset_named("litellm"), "public")
                        run_sql(server, name, text)
                    else:
                        fire_only(connection, *FIRING[name])
                    connection.execute("vacuum analyze")
            yield server


def updates_a_second(server: EmbeddedPostgres, name: str, clients: int, seconds: int) -> float:
    """By pgbench; the keys of a batch ascend, as the writer's do."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set n random(0, {KEYS - BATCH})\nbegin;\n")
        for i in range(1, BATCH + 1):
            script.write(" ".join(UPDATE.format(spend="0.01", now="now()", key=f":n + {i}").split()) + ";\n")
        script.write("commit;\n")
        script.flush()
        Path(script.name).chmod(0o644)
        return BATCH * transactions(server, server.dsn(name), Path(script.name), clients, seconds, "-M", "prepared")


def processor_time(server: EmbeddedPostgres, name: str) -> float:
    """Microseconds that the server's process runs for one update, everything of it included."""
    statement = UPDATE.format(spend="%(spend)s", now="now()", key="%(key)s::int").encode()
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        connection.prepare_threshold = 0
        clock = Path(f"/proc/{connection.info.backend_pid}/schedstat")
        connection.execute("vacuum")
        for key in range(1, 200):
            connection.execute(statement, {"spend": 0.01, "key": key})
        before = int(clock.read_text().split()[0])
        count = 0
        for start in range(0, MEASURED, BATCH):
            with connection.transaction():
                for key in range(start, start + BATCH):
                    connection.execute(statement, {"spend": 0.01, "key": key})
                    count += 1
        return (int(clock.read_text().split()[0]) - before) / 1000 / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5, help="on each server")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--commit", choices=["on", "off"], default="on", help="synchronous_commit")
    options = parser.parse_args()
    speeds: dict[int, dict[str, list[float]]] = {clients: defaultdict(list) for clients in (1, 4)}
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.servers):
        with filled_server(options.commit) as server:
            for number in range(options.rounds):
                # Whoever is first may find the machine otherwise than whoever is last.
                order = DATABASES[number % len(DATABASES) :] + DATABASES[: number % len(DATABASES)]
                for name in order:
                    times[name].append(processor_time(server, name))
                for clients, figures in speeds.items():
                    for name in order:
                        figures[name].append(updates_a_second(server, name, clients, options.seconds))
    rounds = options.servers * options.rounds
    print(
        f"PostgreSQL {best_binaries().major}, synchronous_commit {options.commit}, {BATCH} keys a transaction, "
        f"{rounds} rounds on {options.servers} servers, medians, load {os.getloadavg()[0]:.1f}"
    )
    print("spend of a key, processor time of an update: µs")
    print_beside({name: times[name] for name in DATABASES}, "untracked")
    for clients, figures in speeds.items():
        print(f"spend of a key, {clients} clients: updates/s")
        print_beside({name: figures[name] for name in DATABASES}, "untracked")
    cost = statistics.median(a / b for a, b in zip(times["preset"], times["untracked"], strict=True)) - 1
    print(f"the preset costs {cost:.1%} of the processor time")


if __name__ == "__main__":
    main()
