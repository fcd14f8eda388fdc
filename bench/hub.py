"""What a hub does: how fast it takes in what nodes record, how it is read, and what a database without one pays.

A hub and three nodes on servers of their own; while the nodes are written to, the hub has the last core for itself, and
the nodes share the others with what writes to them. Rounds are interleaved. What a part measured replaces what it
measured the last time.

Example:
  python bench/hub.py
  python bench/hub.py --parts alone --rounds 10 --before 8b7b9e7
"""

import argparse
import os
from collections.abc import Iterator

import results
from gathering import alone, applying, reading, receiving
from gathering.ground import NAMES, Values, prepared, show
from pgtrail.server.binaries import best_binaries

PARTS = ("applying", "copying", "reading", "alone")
BEFORE = "8b7b9e7"
"""The last commit without hubs."""


def main() -> None:
    """Measure, keep and print."""
    options = _options()
    for part in options.parts:
        for values in globals()[f"_{part}"](options):
            show(values)
            # After each, lest what hours have measured be lost.
            if not options.dry:
                _keep(values, options)


def _applying(options: argparse.Namespace) -> Iterator[Values]:
    with prepared(options.folder) as ground:
        for name in NAMES:
            ground.add(name)
        ground.wait_for(ground.all_recorded())
        yield receiving.measure(ground, options.rounds)
        yield applying.backlog(ground, options.rounds, options.seconds, options.clients)
        yield applying.large_transactions(ground, options.rounds, 20_000)
        yield applying.while_written(ground, options.rounds, options.seconds, options.clients)


def _copying(options: argparse.Namespace) -> Iterator[Values]:
    with prepared(options.folder) as ground:
        yield applying.first_copy(ground, options.rounds, options.copied)
        reading.seal(ground)
        yield reading.verifying(ground, options.rounds)


def _reading(options: argparse.Namespace) -> Iterator[Values]:
    with prepared(options.folder) as ground:
        reading.fill(ground, options.events)
        yield reading.measure(ground, 4 * options.rounds)


def _alone(options: argparse.Namespace) -> Iterator[Values]:
    yield alone.measure(options.before, 2 * options.rounds, options.seconds, options.folder)


def _keep(values: Values, options: argparse.Namespace) -> None:
    new = [
        results.Figure(work, variant, unit, [round(value, 2) for value in numbers])
        for (work, variant, unit), numbers in values.items()
    ]
    measured = {figure.work for figure in new}
    try:
        _, old = results.load("hub")
    except FileNotFoundError:
        old = []
    kept = [figure for figure in old if figure.work not in measured]
    results.save(
        "hub",
        kept + new,
        postgres=best_binaries().major,
        nodes=len(NAMES),
        clients=options.clients,
        rounds=options.rounds,
        load=round(os.getloadavg()[0], 1),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run of pgbench")
    parser.add_argument("--clients", type=int, default=4, help="of each node")
    parser.add_argument("--events", type=int, default=300_000, help="of each node's history that is read")
    parser.add_argument("--copied", type=int, default=50_000, help="events of each node that are copied and verified")
    parser.add_argument("--before", default=BEFORE, help="the commit that this version is compared with")
    parser.add_argument("--folder", help="where the servers' data are; the system's for temporary files")
    parser.add_argument("--dry", action="store_true", help="print only: leave bench/results as it is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
