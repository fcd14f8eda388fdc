"""What sealing costs the writers, and how fast seals are made and verified.

Writers: transactions a second with a worker that seals every second (ten times as often as by default) and with one
that does not seal; rounds are interleaved. Then a history of a million events, sealed and verified on two connections.

Example:
  python bench/seals.py --rounds 5 --events 1000000
"""

import argparse
import subprocess
import sys
import time

import stage

NEVER = ("--seal-every", "3600", "--seal-events", "65536")
EVERY_SECOND = ("--seal-every", "1")


def seal_all(connection: stage.Connection, part: int = 10_000) -> None:
    """Seal until nothing is left to seal."""
    while connection.execute("select number from audit.seal(%s) where number is not null", [part]).fetchone():
        pass


def writers(rounds: int, clients: int, seconds: int) -> None:
    """Measure the writers and print."""
    with (
        stage.database(max_connections="100") as (server, connection),
        stage.update_script(connection) as script,
    ):

        def written(pace: tuple[str, ...]) -> float:
            with stage.worker(server.dsn(), *pace):
                # Both begin with everything sealed.
                seal_all(connection)
                return stage.transactions(server, server.dsn(), script, clients, seconds)

        works = {"without sealing": lambda: written(NEVER), "sealed every second": lambda: written(EVERY_SECOND)}
        figures = stage.interleaved(rounds, works)
    print(f"{clients} clients, {rounds} rounds of {seconds} s: transactions/s")
    stage.print_beside(figures, "without sealing")


def history(events: int, part: int) -> None:
    """Measure sealing and verifying and print."""
    settings = {"fsync": "off", "max_wal_size": "8GB", "shared_buffers": "512MB"}
    with stage.database(**settings) as (server, connection):
        for _ in range(0, events, 20_000):
            stage.create_teams(connection, 20_000)
        connection.execute("vacuum analyze audit.event")
        started = time.monotonic()
        seal_all(connection, part)
        seconds = time.monotonic() - started
        print(f"sealing, one connection, {part:,} events a seal: {events / seconds:,.0f} events/s")
        sizes = connection.execute(
            "select pg_total_relation_size('audit.seal_leaves') + pg_total_relation_size('audit.seal')"
        ).fetchone()
        assert sizes is not None
        print(f"seals take {sizes[0] / events:.0f} bytes an event")
        for jobs in (1, 2):
            started = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "pgtrail_cli", "verify", "--jobs", str(jobs), "--dsn", server.dsn()],
                check=True,
                capture_output=True,
            )
            seconds = time.monotonic() - started
            print(f"verifying, {jobs} at once: {events / seconds:,.0f} events/s ({seconds:.1f} s in all)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--part", type=int, default=10_000)
    options = parser.parse_args()
    writers(options.rounds, options.clients, options.seconds)
    history(options.events, options.part)


if __name__ == "__main__":
    main()
