"""How long from commit to receipt, in milliseconds, for `webhook`: at rest, under load, and beside bad destinations.

At rest one event is written at a time; under load eight writers write without a pause while a transaction stays open.
Beside it stand a destination whose port is closed, one that never responds and one that takes a second. Rounds are
interleaved.

Example:
  python bench/latency.py --rounds 3
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import psycopg

import stage


def measured(connection: stage.Connection, pipe: Pipe, write: Callable[[], None]) -> list[float]:
    """Milliseconds from commit to receipt of what is written."""
    last = connection.execute("select max(id) from audit.event").fetchone()
    came: dict[int, float] = {}
    writing = threading.Thread(target=write)
    writing.start()
    # Read all the while: a receiver whose pipe is full stands still.
    while writing.is_alive():
        _drain(pipe, came)
        time.sleep(0.01)
    committed = dict(
        connection.execute(
            "select id, extract(epoch from pg_xact_commit_timestamp(xid::xid))::float8 from audit.event "
            "where id > %s and category = 'teams'",
            last,
        ).fetchall()
    )
    stage.wait_until(lambda: committed.keys() <= _drain(pipe, came).keys())
    return [(came[event_id] - moment) * 1000 for event_id, moment in committed.items()]


def _drain(pipe: Pipe, came: dict[int, float]) -> dict[int, float]:
    while pipe.poll():
        name, moment = pipe.recv()
        came.setdefault(int(name.removeprefix("evt_")), moment)
    return came


def at_rest(dsn: str, events: int) -> None:
    """One event at a time."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(events):
            stage.create_teams(connection, 1)
            time.sleep(0.03)


def under_load(dsn: str, seconds: float, pause: float, *, held: bool) -> None:
    """Eight writers; held: beside a transaction that writes first and stays open, so that nobody can notify."""
    ends = time.monotonic() + seconds

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < ends:
                stage.create_teams(connection, 1)
                time.sleep(pause)

    with psycopg.connect(dsn) as holder:
        if held:
            stage.create_teams(holder, 1)
        writers = [threading.Thread(target=write) for _ in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()


def report(name: str, rounds: list[list[float]]) -> None:
    """Medians over the rounds."""
    p50 = [statistics.median(values) for values in rounds]
    p99 = [statistics.quantiles(values, n=100, method="inclusive")[98] for values in rounds]
    events = sum(len(values) for values in rounds)
    print(f"  {name:<36} p50 {stage.spread(p50, 1)}   p99 {stage.spread(p99, 1)}   {events:,} events")


def measure(rounds: int, events: int, seconds: float) -> dict[str, list[list[float]]]:
    """By circumstances: of each round, the milliseconds of each event."""
    with (
        stage.receiving() as (url, pipe),
        stage.database(track_commit_timestamp="on") as (server, connection),
        stage.worker(server.dsn()),
    ):
        stage.add_destination(connection, "good", f"{url}/stamp")
        bad = {"dead": "http://127.0.0.1:1/", "hangs": f"{url}/hang", "slow": f"{url}/slow"}

        def resting() -> list[float]:
            return measured(connection, pipe, lambda: at_rest(server.dsn(), events))

        def loaded(held: bool) -> list[float]:
            return measured(connection, pipe, lambda: under_load(server.dsn(), seconds, 0.04, held=held))

        def beside_bad_ones() -> list[float]:
            for name, target in bad.items():
                stage.add_destination(connection, name, target)
            time.sleep(2)
            values = resting()
            for name in bad:
                connection.execute("select audit.remove_destination(%s, at_once => true)", [name])
            time.sleep(2)
            return values

        at_rest(server.dsn(), 5)
        time.sleep(2)
        works = {
            "at rest": resting,
            "200 events/s": lambda: loaded(False),
            "200 events/s, one open transaction": lambda: loaded(True),
            "at rest, beside three bad ones": beside_bad_ones,
        }
        return stage.interleaved(rounds, works)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=150, help="of each round at rest")
    parser.add_argument("--seconds", type=float, default=8, help="of each round under load")
    options = parser.parse_args()
    figures = measure(options.rounds, options.events, options.seconds)
    print(f"from commit to receipt, {options.rounds} rounds: ms")
    for name, rounds in figures.items():
        report(name, rounds)
    rest, *_, beside = figures.values()
    ratio = statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(beside, rest, strict=True))
    print(f"  beside three bad ones: {ratio:.2f} × of the median at rest")


if __name__ == "__main__":
    main()
