"""What NOTIFY costs the writers: transactions a second of 32 clients, with the worker listening and without NOTIFY.

Rounds are interleaved; figures are medians with the lowest and the highest, and the median of the ratios.

Example:
  python bench/notify.py --rounds 5
"""

import argparse
import tempfile
from pathlib import Path

import results
import stage
from pgtrail.server.binaries import best_binaries


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    with (
        tempfile.NamedTemporaryFile("w", suffix=".sql") as script,
        stage.receiving() as (url, _),
        stage.database(max_connections="100") as (server, connection),
    ):
        script.write(stage.UPDATE_TEAM)
        script.flush()
        stage.create_teams(connection, 1000)
        connection.execute("create index on nemo.team (name)")
        stage.add_destination(connection, "bench", url, format="ndjson")
        figures: dict[str, list[float]] = {"without NOTIFY": [], "with NOTIFY": []}
        # The worker listens in both: what it takes of the machine is not what is measured.
        with stage.worker(server.dsn()):
            for _ in range(options.rounds):
                for values, notify in zip(figures.values(), ("off", "on"), strict=True):
                    dsn = server.dsn(options=f"-c pgtrail.notify={notify}")
                    values.append(stage.transactions(server, dsn, Path(script.name), options.clients, options.seconds))
    work = f"update, {options.clients} clients, a worker listening"
    results.save(
        "notify",
        [results.Figure(work, variant, "transactions/s", values) for variant, values in figures.items()],
        postgres=best_binaries().major,
        rounds=options.rounds,
        seconds=options.seconds,
    )
    print(
        f"{options.clients} clients, {options.rounds} rounds of {options.seconds} s, the worker listening: transactions/s"
    )
    stage.print_beside(figures, "without NOTIFY")


if __name__ == "__main__":
    main()
