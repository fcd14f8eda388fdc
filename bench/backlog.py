"""What a long backlog costs the worker: its peak memory and its events a second, in `ndjson`.

Example:
  python bench/backlog.py 20000 1000000
"""

import argparse
import re
import time
from pathlib import Path

import stage


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=int, nargs="*", default=[20_000, 1_000_000])
    options = parser.parse_args()
    for events in options.events:
        with stage.receiving() as (url, _), stage.database(fsync="off", max_wal_size="8GB") as (server, connection):
            stage.add_destination(connection, "bench", url, format="ndjson", gzip=False)
            for _ in range(0, events, 20_000):
                stage.create_teams(connection, 20_000)
            with stage.worker(server.dsn()) as process:
                started = time.monotonic()
                stage.wait_until_delivered(connection, events, 0.05)
                seconds = time.monotonic() - started
                status = Path(f"/proc/{process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        print(f"{events:>10,} events behind: peak {int(peak[1]) / 1024:.0f} MB, {events / seconds:,.0f} events/s")


if __name__ == "__main__":
    main()
