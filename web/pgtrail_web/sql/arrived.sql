-- How many have become visible since a snapshot; it counts no further than it is shown.
select
    pg_current_snapshot()::text as snapshot,
    pg_snapshot_xmin(pg_current_snapshot()) < pg_snapshot_xmax(pg_current_snapshot()) as in_flight,
    (
        select count(*)
        from (
            select
            from audit.batch(%(snapshot)s::pg_snapshot, pg_current_snapshot()) as event
            where audit.passes(event, %(wanted)s::audit.filter)
            limit 1000
        ) as arrived
    ) as events
