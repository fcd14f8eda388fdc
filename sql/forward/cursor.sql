-- Delivery: leases, and the batch that a cursor has in progress.

create or replace function audit_internal.acquire_lease(p_cursor_id bigint, p_worker text, p_lease interval)
returns audit.cursor
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    held audit.cursor;
    -- An equal share of the cursors among the workers that reported within a lease.
    max_held constant bigint := ceil(
        (
            select count(*)
            from audit.cursor
            join audit.destination on destination.id = cursor.destination_id and not destination.paused
        )::numeric
        / greatest((select count(*) from audit.worker where seen_at > clock_timestamp() - p_lease), 1)
    );
    held_count bigint;
begin
    select * into held from audit.cursor where id = p_cursor_id;
    if held.system_identifier <> audit_internal.system_identifier() then
        raise exception using
            errcode = 'PT013',
            message = format(
                'the cursor of destination "%s" is from another cluster',
                (select name from audit.destination where id = held.destination_id)
            ),
            hint = 'Transaction ids mean nothing in another cluster. Start again with: pgtrail destination rebase NAME --since …';
    end if;

    -- Renewed only when half of it is over, so that an idle destination costs few writes.
    if held.lease_holder = p_worker and held.lease_until > clock_timestamp() + p_lease / 2 then
        return held;
    end if;

    select count(*)
    into held_count
    from audit.cursor
    where lease_holder = p_worker and lease_until > clock_timestamp();
    if held.lease_holder = p_worker and held_count > max_held then
        perform audit_internal.release_lease(p_cursor_id, held.lease_token);
        return null;
    end if;
    update audit.cursor
    set
        lease_holder = p_worker,
        lease_until = clock_timestamp() + p_lease,
        lease_token = cursor.lease_token + case when cursor.lease_holder is distinct from p_worker then 1 else 0 end
    where id = p_cursor_id
        and (
            lease_holder = p_worker
            or ((lease_holder is null or lease_until < clock_timestamp()) and held_count < max_held)
        )
    returning * into held;
    if not found then
        held := null;
    end if;
    return held;
end
$$;

comment on function audit_internal.acquire_lease(bigint, text, interval) is
    'Returns a cursor if this worker holds its lease or can take it, else null. A worker with more than its share releases one instead of renewing it. PT013.';

create or replace function audit_internal.record_heartbeat(p_worker text, p_lease interval)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from audit.worker where name = p_worker and seen_at > clock_timestamp() - p_lease / 3) then
        insert into audit.worker (name)
        values (p_worker)
        on conflict (name) do update set seen_at = clock_timestamp();
    end if;
end
$$;

comment on function audit_internal.record_heartbeat(text, interval) is
    'Records that a worker is alive; called more often than a lease lasts.';

create or replace function audit_internal.remove_worker(p_worker text)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from audit.worker where name = p_worker
$$;

comment on function audit_internal.remove_worker(text) is 'Removes a worker, so that the others share its cursors at once.';

create or replace function audit_internal.renew_lease(p_cursor_id bigint, p_lease_token bigint, p_lease interval)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update audit.cursor
    set lease_until = clock_timestamp() + p_lease
    where id = p_cursor_id and lease_token = p_lease_token and lease_holder is not null;
    return found;
end
$$;

comment on function audit_internal.renew_lease(bigint, bigint, interval) is
    'Extends a lease. False: it was lost.';

create or replace function audit_internal.release_lease(p_cursor_id bigint, p_lease_token bigint)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    update audit.cursor
    set lease_holder = null, lease_until = null
    where id = p_cursor_id and lease_token = p_lease_token
$$;

comment on function audit_internal.release_lease(bigint, bigint) is 'Releases a lease, so that another worker need not wait until it ends.';

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
        if cursor_row.takes_foreign then
            cursor_row.last_sent_id := 0;
        else
            -- (+ 0: by transaction id, not by the primary keys of all partitions.)
            select min(event.id + 0) - 1, max(event.id + 0)
            into cursor_row.last_sent_id, cursor_row.batch_last_id
            from audit_internal.batch(cursor_row.batch_from, cursor_row.batch_to) as event
            where audit_internal.matches_destination_live(event, destination)
                and event.id > cursor_row.foreign_id;
        end if;
        if cursor_row.last_sent_id is not null then
            cursor_row.lease_token := audit_internal.store_cursor(cursor_row);
            continue when cursor_row.lease_token is not null;
            return cursor_row;
        end if;

        -- No event for this destination. Without an occasional step the batch would span an ever longer range.
        if audit_internal.transactions_between(cursor_row.batch_from, cursor_row.batch_to) > 1000
            or exists (select from audit_internal.batch(cursor_row.batch_from, cursor_row.batch_to) offset 1000)
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
    cursor_row.takes_foreign := false;
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
        takes_foreign = cursor_row.takes_foreign,
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
