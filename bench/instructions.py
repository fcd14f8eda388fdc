"""How many processor instructions an audited write takes: unaudited, by the least that could be, by pgtrail, by others.

On every Postgres that is found. The same figures on any machine, however busy, to about 1 %; so they say what the noisy
ones of bench/writes.py can't: whether a change made a write cheaper. They count the server's process alone, in one
session, and neither disk nor locks. Needs Valgrind.

Example:
  python bench/instructions.py
  python bench/instructions.py --auditors pgtrail --operations update --dry --profile
"""

import argparse
from collections.abc import Iterator

import results
from auditors import AUDITORS, Auditor
from auditors.peers import versions
from pgtrail.server.binaries import Binaries, find_binaries
from writing.counting import PARTS, ROWS, NoValgrind, count
from writing.ground import prepared
from writing.works import DELETE, IGNORED, INSERT, UPDATE

BASES = ("unaudited", "floor")
"""With whom the others are compared."""
SCRIPTS = {script.operation: script for script in (UPDATE, IGNORED, INSERT, DELETE)}


def main() -> None:
    """Count, print and keep."""
    options = _options()
    auditors = [
        auditor for auditor in AUDITORS.values() if not options.auditors or auditor.name in (*BASES, *options.auditors)
    ]
    figures = []
    try:
        for binaries in find_binaries():
            print(f"PostgreSQL {binaries.major}: instructions a transaction")
            for operation, auditor, part, counted in _counted(binaries, auditors, options):
                work = f"{operation}, PostgreSQL {binaries.major}" + (f", {part}" if part else "")
                figures.append(results.Figure(work, auditor, "instructions", [counted]))
                base = {figure.variant: figure.values[0] for figure in figures if figure.work == work}
                ratios = [f"{counted / base[name]:5.2f} × {name}" for name in BASES if name in base and name != auditor]
                print(f"  {operation:<24}  {auditor:<26} {counted:>9,}  {part or '   '.join(ratios)}", flush=True)
    except NoValgrind as error:
        raise SystemExit(f"{error}") from None
    if not options.dry:
        results.save("instructions", figures, peers=versions())


def _counted(
    binaries: Binaries, auditors: list[Auditor], options: argparse.Namespace
) -> Iterator[tuple[str, str, str | None, int]]:
    """Operation, auditor, part of it (None: all of it), instructions."""
    with prepared(auditors, ROWS, options.folder, binaries) as ground:
        for auditor in auditors:
            ground.reset(auditor, "api_key", ROWS)
        ground.server.stop()
        for operation in options.operations or SCRIPTS:
            for auditor in auditors:
                of = (binaries, ground.server.data_dir, auditor, SCRIPTS[operation])
                yield operation, auditor.name, None, count(*of)
                if options.profile:
                    for part, function in PARTS.items():
                        yield operation, auditor.name, part, count(*of, function)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--auditors", nargs="+", default=[], choices=AUDITORS, metavar="NAME", help="only these")
    parser.add_argument("--operations", nargs="+", default=[], choices=SCRIPTS, metavar="NAME", help="only these")
    parser.add_argument("--profile", action="store_true", help="also tell what parts of each take: " + ", ".join(PARTS))
    parser.add_argument("--folder", help="where the servers' data are; the system's for temporary files")
    parser.add_argument("--dry", action="store_true", help="print only: leave bench/results as it is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
