"""What an audited write costs: unaudited, audited by the least that could be, by pgtrail, and by others.

All in one database of a server made anew, each auditor on tables of its own of the same shape (that of nemo.api_key, and
a wide and a narrow one). In each round every auditor does every work once, in an order drawn anew for each work, on
tables filled anew and with an empty log. The median over the rounds of each work is reported, with the lowest and the
highest, and the median of the rounds' ratios to the unaudited table and to the floor.

Example:
  python bench/writes.py --servers 3 --rounds 5 --seconds 5
  python bench/writes.py --rounds 1 --seconds 2 --works 'update, *' 'bulk *' --auditors pgtrail
"""

import argparse
import os
import random
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator

import results
from auditors import AUDITORS, Auditor
from auditors.peers import versions
from pgtrail.server.binaries import best_binaries
from stage import spread
from writing.ground import SETTINGS, prepared
from writing.measure import measure, rows_needed
from writing.works import BULK_ROWS, ROWS, Work, chosen_works

BASES = ("unaudited", "floor")
"""With whom the others are compared."""

Values = dict[tuple[str, str], dict[str, list[float]]]
"""By work and unit: by auditor: one of each round."""


def main() -> None:
    """Measure, keep and print."""
    options = _options()
    works = chosen_works(options.works)
    auditors = _chosen_auditors(options.auditors)
    values: Values = defaultdict(lambda: {auditor.name: [] for auditor in auditors})
    for number in range(options.servers):
        print(f"server {number + 1}", flush=True)
        for _ in _rounds_on_server(values, auditors, works, options):
            # After each round, lest what hours have measured be lost.
            if not options.dry:
                results.save("writes", figures(values), **_facts(options, servers=number + 1))
    print(f"PostgreSQL {best_binaries().major}, load {os.getloadavg()[0]:.1f}: medians (lowest to highest)")
    for (work, unit), of_auditors in values.items():
        print(f"\n{work}: {unit}")
        print("\n".join(_lines(of_auditors)))


def figures(values: Values) -> Iterable[results.Figure]:
    """As they are kept."""
    return [
        results.Figure(work, auditor, unit, numbers)
        for (work, unit), of_auditors in values.items()
        for auditor, numbers in of_auditors.items()
    ]


def _rounds_on_server(
    values: Values, auditors: list[Auditor], works: list[Work], options: argparse.Namespace
) -> Iterator[int]:
    """Each round's number, when it is done and its values are there."""
    with prepared(auditors, rows_needed(works, options.seconds), options.folder) as ground:
        for number in range(1, options.rounds + 1):
            for work in works:
                # What of the WAL was not yet checkpointed is of the work before.
                ground.connection.execute("checkpoint")
                for auditor in random.sample(auditors, len(auditors)):
                    for name, unit, value in measure(ground, auditor, work, options.seconds):
                        values[name, unit][auditor.name].append(value)
            print(f"  round {number} of {options.rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
            yield number


def _lines(of_auditors: dict[str, list[float]]) -> Iterable[str]:
    for auditor, numbers in of_auditors.items():
        ratios = [
            f"{statistics.median(a / b for a, b in zip(numbers, of_auditors[base], strict=True)):.3g} × {base}"
            for base in BASES
            if all(of_auditors.get(base, [0]))
        ]
        yield f"  {auditor:<30} {spread(numbers):<40} {'  '.join(ratios)}"


def _facts(options: argparse.Namespace, servers: int) -> dict[str, object]:
    return {
        "postgres": best_binaries().major,
        "servers": servers,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "settings": SETTINGS,
        "rows": ROWS,
        "bulk_rows": BULK_ROWS,
        "peers": versions(),
        "load": round(os.getloadavg()[0], 1),
    }


def _chosen_auditors(names: list[str]) -> list[Auditor]:
    """Those named, and whoever is compared with; all without a name."""
    return [auditor for auditor in AUDITORS.values() if not names or auditor.name in (*BASES, *names)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="on each server")
    parser.add_argument("--seconds", type=int, default=3, help="of each run of pgbench")
    parser.add_argument("--works", nargs="+", default=[], metavar="PATTERN", help="only those whose names fit")
    parser.add_argument("--auditors", nargs="+", default=[], choices=AUDITORS, metavar="NAME", help="only these")
    parser.add_argument(
        "--folder", help="where the servers' data are (not in memory); the system's for temporary files"
    )
    parser.add_argument("--dry", action="store_true", help="print only: leave bench/results as it is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
