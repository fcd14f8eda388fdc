-- Destinations: the state of each, its backlog, and where its cursor begins.

create or replace function audit_internal.ping_event()
returns audit.event
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_catalog.jsonb_populate_record(
        null::audit.event,
        pg_catalog.jsonb_build_object(
            'id', 0,
            'occurred_at', pg_catalog.now(),
            'category', 'audit',
            'action', 'audit.ping',
            'resource_type', 'destination',
            'actor_type', 'database',
            'actor_id', session_user,
            'db_role', session_user
        )
    )
$$;

comment on function audit_internal.ping_event() is 'Returns an event that tests a destination and is not in the log.';

create or replace function audit_internal.destination_id(destination_name text)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint := (select id from audit.destination where name = destination_name);
begin
    if found_id is null then
        raise exception using
            errcode = 'PT002',
            message = format('there is no destination "%s"', left(destination_name, 63)),
            hint = coalesce(
                'The destinations are ' || (select string_agg(name, ', ' order by name) from audit.destination) || '.',
                'There are none yet: pgtrail destination add NAME --url https://…'
            );
    end if;
    return found_id;
end
$$;

comment on function audit_internal.destination_id(text) is 'Returns the id of a destination. PT002.';

create or replace function audit_internal.restored_id()
returns bigint
language sql
stable
as $$
    -- This cluster has not reached the transaction id, yet the row exists.
    select coalesce(max(event.id), 0)
    from audit.event
    where event.xid >= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
        and event.xid is distinct from pg_catalog.pg_current_xact_id_if_assigned()
$$;

comment on function audit_internal.restored_id() is
    'The highest id of an event that was recorded in another cluster, under a transaction id that this one has not reached; 0: there is none.';

create or replace function audit_internal.first_snapshot(since timestamptz)
returns pg_snapshot
language sql
stable
as $$
    select case
        when since is null then audit_internal.current_snapshot()
        -- One that sees no event of this cluster, and no open transaction.
        else (
            select pg_catalog.format(
                '%1$s:%1$s:', least(pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), min(event.xid))
            )::pg_snapshot
            from audit.event
            where event.id > (select audit_internal.restored_id())
        )
    end
$$;

comment on function audit_internal.first_snapshot(timestamptz) is
    'Returns where a cursor begins: at present, or (since a time) before all events.';

create or replace function audit_internal.cursor_state(cursor_row audit.cursor)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when cursor_row.failing_since < pg_catalog.now() - interval '5 days' then 'suspended'
        when cursor_row.needs_attention or cursor_row.broken is not null then 'needs_attention'
        when cursor_row.failures > 0 then 'retrying'
        else 'active'
    end
$$;

comment on function audit_internal.cursor_state(audit.cursor) is
    '`active`; `retrying`: failed attempts are retried on a schedule; `needs_attention`: an operator has to fix something at the receiver, which is probed every 15 minutes, or no worker can serve it (audit.cursor.broken); `suspended`: no success for 5 days, it is probed hourly. All but the first resume by themselves.';

create or replace function audit_internal.backlog(
    destination audit.destination, cursor_row audit.cursor, out events bigint, out oldest timestamptz, out error text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- (As in audit_internal.begin_batch().)
set plan_cache_mode = force_custom_plan
as $$
begin
    select count(*), min(pending.occurred_at)
    into events, oldest
    from (
        select event.occurred_at
        from audit_internal.events_between(cursor_row.batch_from, pg_current_snapshot()) as event
        where audit_internal.matches_destination_live(event, destination)
            and event.id > cursor_row.restored_id
            and event.id <> all (cursor_row.sent_ahead)
            and (
                cursor_row.batch_to is null
                or event.id > cursor_row.last_sent_id
                or not pg_visible_in_snapshot(event.xid, cursor_row.batch_to)
            )
        limit 100000
    ) as pending;
exception
    -- An error of one destination's filters must not hide the others. (A statement_timeout still ends the statement.)
    when others then
        events := null;
        error := format('its filters can''t be evaluated (SQLSTATE %s)', sqlstate);
end
$$;

comment on function audit_internal.backlog(audit.destination, audit.cursor) is
    'Counts the events that a destination has yet to receive (to 100,000), with the time of the oldest. Null events: its filters raise an error.';

create or replace view audit.destination_status
with (security_invoker = true) as
select
    destination.id,
    destination.name,
    destination.format,
    destination.url,
    destination.categories,
    destination.actions,
    destination.orgs,
    case
        when destination.paused then 'paused'
        when behind.error is not null then 'needs_attention'
        when destination.leaving is not null and cursor.failures = 0 and cursor.broken is null then 'leaving'
        else audit_internal.cursor_state(cursor)
    end as state,
    behind.events as events_behind,
    case
        when behind.events > 0 then extract(epoch from clock_timestamp() - least(greatest(behind.oldest, timestamptz '1970-01-01 00:00:00+00'), clock_timestamp()))
        when behind.events = 0 then 0
    end as seconds_behind,
    (
        select count(*)
        from audit.dead_letter
        where dead_letter.destination_id = destination.id and dead_letter.delivered_at is null
    ) as dead_letters,
    (
        select count(*)
        from audit.replay
        where replay.destination_id = destination.id and replay.finished_at is null
    ) as replays,
    cursor.last_attempt_at,
    cursor.last_success_at,
    coalesce(behind.error, cursor.broken, cursor.last_error) as last_error,
    cursor.failures,
    cursor.failing_since,
    cursor.retry_at,
    cursor.lease_holder,
    cursor.lease_until
from audit.destination
join audit.cursor on cursor.destination_id = destination.id and cursor.replay_id is null
cross join lateral audit_internal.backlog(destination, cursor) as behind;

comment on view audit.destination_status is
    'The destinations: their state, how many events each has yet to receive (counted to 100,000) and for how many seconds the oldest has waited; null: its filters can''t be evaluated (see last_error).';
