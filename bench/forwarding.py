"""How fast a backlog is forwarded, in events a second.

`webhook`, one event a request: beside the bare requests with the same bodies, and beside a worker as it is written in an
afternoon, which takes the oldest row that is not marked, posts it and marks it. `ndjson`, in batches: beside the limit,
the same rendered rows by COPY to nowhere. Rounds are interleaved; figures are medians with the lowest and the highest,
and the median of the ratios round by round.

Example:
  python bench/forwarding.py --rounds 5
"""

import argparse
import asyncio
import time

import httpx
import psycopg

import stage
from pgtrail_worker import http
from pgtrail_worker.http import Route


async def bare(url: str, bodies: list[bytes]) -> float:
    """One request after the other, without a database."""
    started = time.monotonic()
    async with http.new_client(Route(("127.0.0.0/8",))) as client:
        for body in bodies:
            await http.post(client, url, {"content-type": "application/json"}, body)
    return len(bodies) / (time.monotonic() - started)


def naive(dsn: str, url: str, events: int) -> float:
    """Take the oldest row that is not sent, post it, mark it."""
    with psycopg.connect(dsn, autocommit=True) as connection, httpx.Client(trust_env=False) as client:
        connection.execute("create table naive (id bigint primary key, sent boolean not null)")
        connection.execute("insert into naive select id, false from audit.event where category = 'teams'")
        started = time.monotonic()
        for _ in range(events):
            row = connection.execute(
                "select event.id, audit_internal.render_webhook(event) from audit.event "
                "join naive on naive.id = event.id where not naive.sent order by naive.id limit 1"
            ).fetchone()
            assert row is not None
            client.post(url, content=row[1].encode(), headers={"content-type": "application/json"}).raise_for_status()
            connection.execute("update naive set sent = true where id = %s", [row[0]])
        took = time.monotonic() - started
        connection.execute("drop table naive")
    return events / took


def forwarded(connection: stage.Connection, url: str, events: int, **options: object) -> float:
    """Through a worker: from the moment at which it takes the destination to the last settlement."""
    stage.add_destination(connection, "bench", url, since="1970-01-01", **options)
    try:
        with stage.worker(connection.info.dsn):
            leased = "select from audit.cursor where lease_holder is not null"
            stage.wait_until(lambda: connection.execute(leased).fetchone() is not None, 0.001)
            started = time.monotonic()
            stage.wait_until_delivered(connection, events)
            return events / (time.monotonic() - started)
    finally:
        connection.execute("select audit.remove_destination('bench', at_once => true)")
        connection.execute("delete from audit.worker")


def copied(connection: stage.Connection) -> float:
    """The rendered rows by COPY to nowhere."""
    started = time.monotonic()
    rows = 0
    query = "copy (select audit_internal.render_ndjson(event) from audit.event where category = 'teams' order by id) to stdout"
    with connection.cursor().copy(query) as copy:
        for _ in copy.rows():
            rows += 1
    return rows / (time.monotonic() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--webhooks", type=int, default=2000, help="events one by one")
    parser.add_argument("--events", type=int, default=100_000, help="events in batches")
    options = parser.parse_args()
    with stage.receiving() as (url, _):
        with stage.database() as (server, connection):
            stage.create_teams(connection, options.webhooks)
            rows = connection.execute(
                "select audit_internal.render_webhook(event) from audit.event where category = 'teams' order by id"
            )
            bodies = [row[0].encode() for row in rows]
            works = {
                "bare requests, one at a time": lambda: asyncio.run(bare(url, bodies)),
                "naive worker": lambda: naive(server.dsn(), url, options.webhooks),
                "pgtrail, strict order": lambda: forwarded(connection, url, options.webhooks, max_in_flight=1),
                "pgtrail": lambda: forwarded(connection, url, options.webhooks),
            }
            singles = stage.interleaved(options.rounds, works)
        print(f"webhook, {options.webhooks:,} events, {options.rounds} rounds: events/s")
        stage.print_beside(singles, "naive worker")
        with stage.database() as (server, connection):
            stage.create_teams(connection, options.events)
            works = {
                "limit: COPY to nowhere": lambda: copied(connection),
                "pgtrail, ndjson": lambda: forwarded(connection, url, options.events, format="ndjson", gzip=False),
                "pgtrail, ndjson, gzip": lambda: forwarded(connection, url, options.events, format="ndjson", gzip=True),
            }
            batches = stage.interleaved(options.rounds, works)
        print(f"ndjson, {options.events:,} events, {options.rounds} rounds: events/s")
        stage.print_beside(batches, "limit: COPY to nowhere")


if __name__ == "__main__":
    main()
