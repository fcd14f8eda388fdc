-- Delivery: leases, and the batch that a cursor has in progress.

create or replace function audit_internal.hold_lease(p_cursor_id bigint, p_worker text, p_lease interval)
returns audit.cursor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    held audit.cursor;
    -- As many as any other worker that was heard of within a lease.
    share constant bigint := ceil(
        (
            select count(*)
            from audit.cursor
            join audit.destination on destination.id = cursor.destination_id and not destination.paused
        )::numeric
        / greatest((select count(*) from audit.worker where seen_at > clock_timestamp() - p_lease), 1)
    );
    holds bigint;
begin
    select * into held from audit.cursor where id = p_cursor_id;
    if held.system_identifier <> audit_internal.system_identifier() then
        raise exception using
            errcode = 'PT013',
            message = format(
                'the cursor of destination "%s" is from another cluster',
                (select name from audit.destination where id = held.destination_id)
            ),
            hint = 'Transaction ids mean nothing in a restored database. Begin anew: pgtrail destination rebase NAME --since …';
    end if;

    -- Renewed when half of it is over: an idle destination costs a write every now and then only.
    if held.lease_holder = p_worker and held.lease_until > clock_timestamp() + p_lease / 2 then
        return held;
    end if;

    select count(*)
    into holds
    from audit.cursor
    where lease_holder = p_worker and lease_until > clock_timestamp();
    if held.lease_holder = p_worker and holds > share then
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
            or ((lease_holder is null or lease_until < clock_timestamp()) and holds < share)
        )
    returning * into held;
    if not found then
        held := null;
    end if;
    return held;
end
$$;

comment on function audit_internal.hold_lease(bigint, text, interval) is
    'A cursor if this worker holds its lease, or can take it; else null. A worker with more than its share gives one back when it would renew it. PT013.';

create or replace function audit_internal.worker_is_here(p_worker text, p_lease interval)
returns void
language plpgsql
volatile
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

comment on function audit_internal.worker_is_here(text, interval) is
    'A worker''s sign of life: call it more often than its lease is long.';

create or replace function audit_internal.worker_leaves(p_worker text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from audit.worker where name = p_worker
$$;

comment on function audit_internal.worker_leaves(text) is 'Lets the other workers share among themselves at once.';

create or replace function audit_internal.renew_lease(p_cursor_id bigint, p_lease_token bigint, p_lease interval)
returns boolean
language plpgsql
volatile
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
    'Keeps a lease for as long again. False: it was lost.';

create or replace function audit_internal.release_lease(p_cursor_id bigint, p_lease_token bigint)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    update audit.cursor
    set lease_holder = null, lease_until = null
    where id = p_cursor_id and lease_token = p_lease_token
$$;

comment on function audit_internal.release_lease(bigint, bigint) is 'Gives a lease back, so that another worker need not wait for its end.';

create or replace function audit_internal.begin_batch(reached audit.cursor, destination audit.destination, present pg_snapshot)
returns audit.cursor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no snapshot: it would read the whole index of transactions, from the sixth look on.
set plan_cache_mode = force_custom_plan
as $$
declare
    gives_up_at timestamptz := clock_timestamp() + interval '5 seconds';
begin
    loop
        if reached.batch_to is not null then
            if exists (select from audit_internal.unsent(reached, destination, reached.last_sent_id, 1)) then
                return reached;
            end if;
            reached := audit_internal.end_batch(reached);
            if reached.lease_token is null then
                return reached;
            end if;
        end if;

        -- The lowest id of the new batch, by transaction id; from there on it is read in the order of ids.
        reached.batch_to := audit_internal.snapshot_after(reached.batch_from, present);
        reached.batch_last_id := null;
        if reached.takes_foreign then
            reached.last_sent_id := 0;
        else
            -- (+ 0: by transaction id, not by the primary keys of all partitions.)
            select min(event.id + 0) - 1, max(event.id + 0)
            into reached.last_sent_id, reached.batch_last_id
            from audit_internal.batch(reached.batch_from, reached.batch_to) as event
            where audit_internal.is_news_for(event, destination)
                and event.id > reached.foreign_id;
        end if;
        if reached.last_sent_id is not null then
            reached.lease_token := audit_internal.move_cursor(reached);
            continue when reached.lease_token is not null;
            return reached;
        end if;

        -- Nothing for it. Without a step now and then the batch would span an ever longer range.
        if audit_internal.transactions_between(reached.batch_from, reached.batch_to) > 1000
            or exists (select from audit_internal.batch(reached.batch_from, reached.batch_to) offset 1000)
        then
            reached := audit_internal.end_batch(reached);
        else
            reached.batch_to := null;
            return reached;
        end if;
        if reached.lease_token is null or clock_timestamp() > gives_up_at then
            return reached;
        end if;
    end loop;
end
$$;

comment on function audit_internal.begin_batch(audit.cursor, audit.destination, pg_snapshot) is
    'The cursor with a batch in progress that has something left, or (batch_to null) with none.';

create or replace function audit_internal.end_batch(reached audit.cursor)
returns audit.cursor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    reached.batch_from := reached.batch_to;
    reached.batch_to := null;
    reached.last_sent_id := 0;
    reached.sent_ahead := '{}';
    reached.takes_foreign := false;
    reached.batch_last_id := null;
    reached.lease_token := audit_internal.move_cursor(reached);
    return reached;
end
$$;

comment on function audit_internal.end_batch(audit.cursor) is 'The cursor after its batch in progress, of which nothing is left; stored.';

create or replace function audit_internal.move_cursor(moved audit.cursor)
returns bigint
language sql
volatile
as $$
    update audit.cursor
    set
        batch_from = moved.batch_from,
        batch_to = moved.batch_to,
        batch_last_id = moved.batch_last_id,
        last_sent_id = moved.last_sent_id,
        sent_ahead = moved.sent_ahead,
        takes_foreign = moved.takes_foreign,
        lease_token = cursor.lease_token + 1
    where id = moved.id and lease_token = moved.lease_token
    returning lease_token
$$;

comment on function audit_internal.move_cursor(audit.cursor) is
    'Stores where a batch begins and ends. The new fencing token; null: the lease was lost.';

create or replace function audit_internal.transactions_between(from_snapshot pg_snapshot, to_snapshot pg_snapshot)
returns numeric
language sql
immutable
as $$
    select pg_catalog.pg_snapshot_xmax(to_snapshot)::text::numeric - pg_catalog.pg_snapshot_xmax(from_snapshot)::text::numeric
$$;

comment on function audit_internal.transactions_between(pg_snapshot, pg_snapshot) is 'How many transactions began between two snapshots.';

create or replace function audit_internal.snapshot_after(from_snapshot pg_snapshot, present pg_snapshot)
returns pg_snapshot
language sql
immutable
as $$
    -- Of what is visible at present all that lies below a transaction id.
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

comment on function audit_internal.snapshot_after(pg_snapshot, pg_snapshot) is
    'A snapshot that sees no more than the present one and at most 100,000 transactions beyond an earlier one: what lies between them is found in a bounded time.';
