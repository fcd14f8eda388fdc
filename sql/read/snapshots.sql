-- Following the log: the events that have become visible since a snapshot.

create or replace function audit_internal.open_transactions(snapshot pg_snapshot)
returns xid8[]
language sql
immutable
parallel safe
as $$
    -- From its text: of a snapshot that is known the planner knows them too. Of a subquery it expects ten, and where a month
    -- was recorded by a few transactions (an import, a bulk change) would rather read all of it than ask the index.
    select pg_catalog.string_to_array(pg_catalog.split_part(snapshot::pg_catalog.text, ':', 3), ',')::pg_catalog.xid8[]
$$;

comment on function audit_internal.open_transactions(pg_snapshot) is
    'Returns the transactions that were open when a snapshot was taken: pg_snapshot_xip() as an array.';

create or replace function audit_internal.events_between(from_snapshot pg_snapshot, to_snapshot pg_snapshot)
returns setof audit.event
language sql
stable
as $$
    select event.*
    from audit.event
    where (
            event.xid operator(pg_catalog.=) any (audit_internal.open_transactions(from_snapshot))
            or event.xid operator(pg_catalog.>=) pg_catalog.pg_snapshot_xmax(from_snapshot)
        )
        and pg_catalog.pg_visible_in_snapshot(event.xid, to_snapshot)
        -- Implied by the condition above, for the index.
        and event.xid operator(pg_catalog.<) pg_catalog.pg_snapshot_xmax(to_snapshot)
$$;

comment on function audit_internal.events_between(pg_snapshot, pg_snapshot) is
    'Returns the events that are visible in to_snapshot and were not in from_snapshot: exact however long transactions stay open (the batches of PgQ). To follow the log, call it with the previous pg_current_snapshot() and the present one.';

create or replace function audit_internal.current_snapshot()
returns pg_snapshot
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when pg_current_xact_id_if_assigned() < pg_snapshot_xmax(present) then (
            select format('%s:%s:%s', pg_snapshot_xmin(present), pg_snapshot_xmax(present), string_agg(xid::text, ',' order by xid))::pg_snapshot
            from (select pg_snapshot_xip(present) union select pg_current_xact_id_if_assigned()) as open (xid)
        )
        else present
    end
    from pg_current_snapshot() as present
$$;

comment on function audit_internal.current_snapshot() is
    'pg_current_snapshot() in which the present transaction is open, too: what it records from now on is behind this snapshot. (Postgres leaves it out of the list, so once a later one has ended it would count as visible.)';

create or replace function audit_internal.events_since(p_filter jsonb, from_snapshot pg_snapshot, max_events integer default null)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    wanted audit.filter := audit_internal.restrict_to_visible(audit.filter(p_filter));
begin
    return query
    select event.*
    from audit_internal.events_between(from_snapshot, pg_current_snapshot()) as event
    -- (Imported events are not new.)
    where event.imported_from is null
        and audit.matches_filter(event, wanted)
    order by event.id
    limit max_events;
end
$$;

comment on function audit_internal.events_since(jsonb, pg_snapshot, integer) is
    'Returns the events that pass a filter and have become visible since a snapshot, in the order of ids: for readers that follow the log.';
