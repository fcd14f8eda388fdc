-- How many have become visible since a snapshot; it counts no further than it is shown.
select
    pg_current_snapshot()::text as snapshot,
    exists (select from pg_snapshot_xip(pg_current_snapshot())) as in_flight,
    (
        select count(*)
        from (
            select
            from audit.batch(%(snapshot)s::pg_snapshot, pg_current_snapshot()) as event
            where event.imported_from is null
                and audit.passes(event, %(wanted)s::audit.filter)
            limit 1000
        ) as arrived
    ) as events
