-- Leases: which worker serves a destination, and the workers that are known.

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
