"""What the CSV costs beside a plain \\copy: `pgtrail export`, the page's export, and \\copy of audit.export.

The plain one has the same columns in the same order, with the rows before and after and the changed fields where the
CSV has the details. All of the log, as an auditor, interleaved, into a file. Target: 0.8 × the plain one's pace.

Example:
  python bench/exports.py --events 1000000 --folder /var/tmp/pgtrail-history-1m
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

import history
import page
import reads
import results
from results import Figure

PLAIN = (
    "select id, occurred_at, org_id, category, action, actor_type, actor_id, actor_label, actor_ip, user_agent, request_id, "
    "reason, resource_type, resource_id, resource_label, operation, table_name, before, after, changed, db_role, client_addr, "
    "application_name, imported_from from audit.event order by occurred_at, id"
)


def by_psql(psql: Path, dsn: str, select: str, file: Path) -> None:
    """Copy what a query gives to a file."""
    copy = f"\\copy ({select}) to '{file}' csv header"
    subprocess.run([psql, "-X", "-q", dsn, "-c", copy], check=True)


def by_command(dsn: str, file: Path, *options: str) -> None:
    """`pgtrail export`."""
    command = [sys.executable, "-m", "pgtrail_cli", "export", str(file), *options, "--dsn", dsn]
    subprocess.run(command, check=True, capture_output=True)


def by_page(client: httpx.Client, file: Path) -> None:
    """The page's button."""
    form = {"csrf": page.form_token(client), "format": "csv", "range": "all"}
    with client.stream("POST", "/export", data=form) as answer, file.open("wb") as output:
        for chunk in answer.iter_bytes():
            output.write(chunk)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    file = options.folder / "export.csv"
    taken: dict[str, list[float]] = {}
    with history.opened(options.events, options.folder) as (server, connection):
        reads.become_ready(connection)
        dsn, psql = server.dsn(user=reads.READER), server.binaries.bin_dir / "psql"
        with page.page(dsn) as (client, _):
            works: dict[str, Callable[[], None]] = {
                "plain \\copy": lambda: by_psql(psql, dsn, PLAIN, file),
                "\\copy of audit.export": lambda: by_psql(psql, dsn, "select * from audit.export", file),
                "pgtrail export": lambda: by_command(dsn, file),
                "pgtrail export --since": lambda: by_command(dsn, file, "--since", "900d"),
                "the page's export": lambda: by_page(client, file),
            }
            for number in range(options.rounds + 1):
                for name, work in works.items():
                    started = time.perf_counter()
                    work()
                    if number:
                        taken.setdefault(name, []).append(options.events / (time.perf_counter() - started))
    file.unlink()
    for name, values in taken.items():
        ratio = statistics.median(a / b for a, b in zip(values, taken["plain \\copy"], strict=True))
        print(f"{name:<26} {statistics.median(values):>12,.0f} events/s  {ratio:.2f} ×")
    variant = f"{options.events // 1_000_000} million"
    results.save("exports", [Figure(name, variant, "events/s", [*map(round, v)]) for name, v in taken.items()])


if __name__ == "__main__":
    main()
