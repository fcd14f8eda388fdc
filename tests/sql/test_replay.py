"""The law of the log: whoever applies the events in their order has the table."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

pytestmark = pytest.mark.any_server

KEYS = st.integers(1, 5)
TEXTS = st.none() | st.sampled_from(["", "a", "A", "quote ' \" \\", "🦊", "null"])
DOCUMENTS = st.none() | st.sampled_from([{}, {"a": [1, None]}, [1.0], "text", 1, True, None]).map(Jsonb)

INSERT = "insert into public.thing (id, name, config) values (%s, %s, %s) on conflict do nothing"
UPSERT = (
    "insert into public.thing (id, name, config) values (%s, %s, %s) "
    "on conflict (id) do update set name = excluded.name, config = excluded.config"
)
WRITES = st.one_of(
    st.tuples(st.sampled_from([INSERT, UPSERT]), KEYS, TEXTS, DOCUMENTS),
    st.tuples(st.just("update public.thing set name = %s where id = %s"), TEXTS, KEYS),
    st.tuples(st.just("update public.thing set name = name || '.', hits = hits + 1 where id <= %s"), KEYS),
    st.tuples(st.just("update public.thing set id = (select max(id) from public.thing) + 1 where id = %s"), KEYS),
    st.tuples(st.just("update public.thing set hits = hits + 1")),
    st.tuples(st.just("delete from public.thing where id = %s"), KEYS),
    st.tuples(st.just("truncate public.thing")),
)
TRANSACTIONS = st.lists(
    st.tuples(st.sampled_from(["committed", "rolled back", "savepoint rolled back"]), st.lists(WRITES, max_size=4)),
    max_size=6,
)


@pytest.fixture(params=["ordinary", "partitioned", "bulk"])
def table(request, su):
    su.execute(
        "create table public.thing (id int primary key, name text, config jsonb, hits int default 0)"
        + (" partition by hash (id)" if request.param == "partitioned" else "")
    )
    if request.param == "partitioned":
        for remainder in (0, 1):
            su.execute(
                f"create table public.thing_{remainder} partition of public.thing "
                f"for values with (modulus 2, remainder {remainder})"
            )
    su.execute("select audit.track('public.thing', 'thing', ignore => '{hits}', bulk => %s)", [request.param == "bulk"])
    return su


def replayed(events: Iterator[tuple[object, ...]]) -> dict[int, object]:
    """What the events say that the table holds: each must fit what the ones before it left."""
    rows: dict[int, object] = {}
    for before, after in events:
        if before is not None:
            assert rows.pop(before["id"]) == before
        if after is not None:
            assert after["id"] not in rows
            rows[after["id"]] = after
    return rows


@given(transactions=TRANSACTIONS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_events_replayed_in_their_order_give_the_table(table, transactions):
    for ending, writes in transactions:
        with table.transaction(force_rollback=ending == "rolled back"):
            table.execute("savepoint here")
            for statement, *values in writes:
                table.execute(statement, values)
            if ending == "savepoint rolled back":
                table.execute("rollback to savepoint here")
    events = table.execute(
        "select audit.row_before(event), after from audit.event where category = 'thing' order by id"
    )
    present = table.execute("select to_jsonb(thing) - 'hits' from public.thing")
    assert replayed(events) == {row["id"]: row for (row,) in present}
