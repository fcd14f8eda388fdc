-- Choosing a batch: the events between two snapshots; and moving the cursor when all of it is delivered.

create or replace function audit_internal.begin_batch(cursor_row audit.cursor, destination audit.destination, present pg_snapshot)
returns audit.cursor
language plpgsql
set search_path = pg_catalog, pg_temp
-- A generic plan doesn't know the snapshot: from the sixth call on it would read the whole index of transactions.
set plan_cache_mode = force_custom_plan
as $$
declare
    deadline timestamptz := clock_timestamp() + interval '5 seconds';
begin
    loop
        if cursor_row.batch_to is not null then
            if exists (select from audit_internal.unsent_events(cursor_row, destination, cursor_row.last_sent_id, 1)) then
                return cursor_row;
            end if;
            cursor_row := audit_internal.end_batch(cursor_row);
            if cursor_row.lease_token is null then
                return cursor_row;
            end if;
        end if;

        -- The lowest id of the new batch, by transaction id; from there on it is read in the order of ids.
        cursor_row.batch_to := audit_internal.bounded_snapshot(cursor_row.batch_from, present);
        cursor_row.batch_last_id := null;
        if cursor_row.takes_restored then
            cursor_row.last_sent_id := 0;
        else
            -- (+ 0: by transaction id, not by the primary keys of all partitions.)
            select min(event.id + 0) - 1, max(event.id + 0)
            into cursor_row.last_sent_id, cursor_row.batch_last_id
            from audit_internal.events_between(cursor_row.batch_from, cursor_row.batch_to) as event
            where audit_internal.matches_destination_live(event, destination)
                and event.id > cursor_row.restored_id;
        end if;
        if cursor_row.last_sent_id is not null then
            cursor_row.lease_token := audit_internal.store_cursor(cursor_row);
            continue when cursor_row.lease_token is not null;
            return cursor_row;
        end if;

        -- No event for this destination. Without an occasional step the batch would span an ever longer range.
        if audit_internal.transactions_between(cursor_row.batch_from, cursor_row.batch_to) > 1000
            or exists (select from audit_internal.events_between(cursor_row.batch_from, cursor_row.batch_to) offset 1000)
        then
            cursor_row := audit_internal.end_batch(cursor_row);
        else
            cursor_row.batch_to := null;
            return cursor_row;
        end if;
        if cursor_row.lease_token is null or clock_timestamp() > deadline then
            return cursor_row;
        end if;
    end loop;
end
$$;

comment on function audit_internal.begin_batch(audit.cursor, audit.destination, pg_snapshot) is
    'Returns the cursor with a batch in progress that has events left, or (batch_to null) without one.';

create or replace function audit_internal.end_batch(cursor_row audit.cursor)
returns audit.cursor
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    cursor_row.batch_from := cursor_row.batch_to;
    cursor_row.batch_to := null;
    cursor_row.last_sent_id := 0;
    cursor_row.sent_ahead := '{}';
    cursor_row.takes_restored := false;
    cursor_row.batch_last_id := null;
    cursor_row.lease_token := audit_internal.store_cursor(cursor_row);
    return cursor_row;
end
$$;

comment on function audit_internal.end_batch(audit.cursor) is 'Stores and returns the cursor behind its batch in progress, which has no events left.';

create or replace function audit_internal.store_cursor(cursor_row audit.cursor)
returns bigint
language sql
as $$
    update audit.cursor
    set
        batch_from = cursor_row.batch_from,
        batch_to = cursor_row.batch_to,
        batch_last_id = cursor_row.batch_last_id,
        last_sent_id = cursor_row.last_sent_id,
        sent_ahead = cursor_row.sent_ahead,
        takes_restored = cursor_row.takes_restored,
        lease_token = cursor.lease_token + 1
    where id = cursor_row.id and lease_token = cursor_row.lease_token
    returning lease_token
$$;

comment on function audit_internal.store_cursor(audit.cursor) is
    'Stores where a batch begins and ends. Returns the new fencing token; null if the lease was lost.';

create or replace function audit_internal.transactions_between(from_snapshot pg_snapshot, to_snapshot pg_snapshot)
returns numeric
language sql
immutable
as $$
    select pg_catalog.pg_snapshot_xmax(to_snapshot)::text::numeric - pg_catalog.pg_snapshot_xmax(from_snapshot)::text::numeric
$$;

comment on function audit_internal.transactions_between(pg_snapshot, pg_snapshot) is 'Returns how many transactions began between two snapshots.';

create or replace function audit_internal.bounded_snapshot(from_snapshot pg_snapshot, present pg_snapshot)
returns pg_snapshot
language sql
immutable
as $$
    -- What the present snapshot sees below a transaction id.
    select case
        when audit_internal.transactions_between(from_snapshot, present) <= 100000 then present
        else (
            select pg_catalog.format('%s:%s:%s', coalesce(min(running.xid), bound.xmax), bound.xmax, string_agg(running.xid::text, ',' order by running.xid))
            from (select pg_catalog.pg_snapshot_xmax(from_snapshot)::text::numeric + 100000 as xmax) as bound
            left join lateral (
                select xip::text::numeric as xid from pg_catalog.pg_snapshot_xip(present) as xip
            ) as running on running.xid < bound.xmax
            group by bound.xmax
        )::pg_snapshot
    end
$$;

comment on function audit_internal.bounded_snapshot(pg_snapshot, pg_snapshot) is
    'Returns the present snapshot, or one at most 100,000 transactions beyond an earlier snapshot, so that the events between them are found in bounded time.';
