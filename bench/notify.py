"""What NOTIFY costs the writers: transactions a second of 32 clients, with the worker listening and without NOTIFY.

Rounds are interleaved; figures are medians with the lowest and the highest, and the median of the ratios.

Example:
  python bench/notify.py --rounds 5
"""

import argparse

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
        stage.receiving() as (url, _),
        stage.database(max_connections="100") as (server, connection),
        stage.update_script(connection) as script,
    ):
        stage.add_destination(connection, "bench", url, format="ndjson")

        def written(notify: str) -> float:
            dsn = server.dsn(options=f"-c pgtrail.notify={notify}")
            return stage.transactions(server, dsn, script, options.clients, options.seconds)

        # The worker listens in both: what it takes of the machine is not measured.
        with stage.worker(server.dsn()):
            works = {"without NOTIFY": lambda: written("off"), "with NOTIFY": lambda: written("on")}
            figures = stage.interleaved(options.rounds, works)
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
