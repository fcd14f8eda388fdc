"""How long the server takes for the first page of each filter, and what an export needs of memory.

A history of many events over 24 months and 500 organizations (a few of them large), a page as `pgtrail page` serves it,
every filter asked for again and again in turns; then all of it as CSV, beside the same by psql's \\copy.

Example:
  python bench/page.py --events 10000000 --folder /var/tmp
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

import history
from pgtrail.server.embedded import EmbeddedPostgres

FILTERS = {
    "nothing": "",
    "all time": "?range=all",
    "a frequent category": "?category=api_keys",
    "a rare category": "?category=password&range=all",
    "three categories": "?category=plan&category=teams&category=budgets&range=all",
    "an action": "?action=key.rotated&range=all",
    "a rare action": "?action=organization.deleted&range=all",
    "actions by pattern": "?action=*.deleted&range=all",
    "a large organization": "?org=org_1&range=all",
    "a small organization": "?org=org_499&range=all",
    "a small one's rare category": "?org=org_499&category=password&range=all",
    "one resource": "?resource_type=key&resource_id=res_4711&range=all",
    "one actor": "?actor_type=user&actor_id=usr_99&range=all",
    "a busy actor": "?actor_type=user&actor_id=usr_1&range=all",
    "an actor by pattern": "?actor=usr_7&range=all",
    "a resource by name": "?resource=name+4711&range=all",
    "a text that is nowhere": "?q=needle&range=all",
    "a month": "?from=2026-03-01&to=2026-03-31",
}


@contextmanager
def page(dsn: str) -> Iterator[tuple[httpx.Client, int]]:
    """A client of the page that is signed in, and the process's id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pgtrail_cli", "page", "--port", "0", "--dsn", dsn], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        entrance = re.search(r"http\S+", process.stderr.readline())
        assert entrance is not None
        with httpx.Client(base_url=entrance[0].partition("?")[0], timeout=600, follow_redirects=True) as client:
            client.get(entrance[0])
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def form_token(client: httpx.Client) -> str:
    """The token that a form of the page carries."""
    token = re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)
    assert token is not None
    return token[1]


def memory(pid: int, field: str = "VmHWM") -> float:
    """Megabytes that a process has, or (VmHWM) has had at most."""
    found = re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def first_pages(client: httpx.Client, rounds: int) -> None:
    """Measure and print."""
    taken: dict[str, list[float]] = {name: [] for name in FILTERS}
    for _ in range(rounds + 1):
        for name, query in FILTERS.items():
            started = time.perf_counter()
            answer = client.get(f"/{query}")
            taken[name].append((time.perf_counter() - started) * 1000)
            assert answer.status_code == 200, answer.text
    print(f"{'first page of …':<32} {'median':>9} {'p95':>9}   of {rounds} (ms; the first is left out)")
    everything = []
    for name, values in taken.items():
        everything += values[1:]
        p95 = statistics.quantiles(values[1:], n=20, method="inclusive")[18]
        print(f"{name:<32} {statistics.median(values[1:]):>9.1f} {p95:>9.1f}")
    p95 = statistics.quantiles(everything, n=20, method="inclusive")[18]
    print(f"{'all of them':<32} {statistics.median(everything):>9.1f} {p95:>9.1f}")


def export(client: httpx.Client, pid: int, server: EmbeddedPostgres) -> None:
    """Measure and print."""
    form = {"csrf": form_token(client), "format": "csv", "org": "org_1", "range": "all"}
    before, size, lines = memory(pid, "VmRSS"), 0, 0
    started = time.monotonic()
    with client.stream("POST", "/export", data=form) as answer:
        for chunk in answer.iter_bytes():
            size, lines = size + len(chunk), lines + chunk.count(b"\n")
    ours = time.monotonic() - started
    started = time.monotonic()
    copy = "\\copy (select * from audit.export where org_id = 'org_1') to '/dev/null' csv header"
    subprocess.run([server.binaries.bin_dir / "psql", "-X", "-q", server.dsn(), "-c", copy], check=True)
    theirs = time.monotonic() - started
    print(
        f"export of {lines - 1:,} events, {size / 1e6:,.0f} MB: {ours:.1f} s, \\copy {theirs:.1f} s ({ours / theirs:.2f} ×)"
    )
    print(f"memory of the page's process: {before:.0f} MB before, {memory(pid):.0f} MB at most")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="Where the database is made: 1.3 GB for a million events.")
    parser.add_argument("--history", type=Path, help="One of bench/history.py, of as many events, that is kept.")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="pgtrail-bench-", dir=options.folder) as made,
        history.opened(options.events, options.history or Path(made)) as (server, connection),
    ):
        # As an auditor, as the page should be run.
        if connection.execute("select to_regrole('page')").fetchone() == (None,):
            connection.execute("create role page login in role audit_auditor")
        with page(server.dsn(user="page")) as (client, pid):
            first_pages(client, options.rounds)
            export(client, pid, server)


if __name__ == "__main__":
    main()
