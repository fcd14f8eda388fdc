-- Delivery: the next batch for a worker, and its outcome.

create or replace function audit_internal.next_batch(
    p_cursor_id bigint,
    p_worker text,
    p_lease interval default '30 seconds',
    p_after bigint default null,
    p_max_events integer default 2000,
    p_max_bytes bigint default 2097152,
    out lease_token bigint,
    out event_ids bigint[],
    out event_uids text[],
    out resource_keys integer[],
    out sizes integer[],
    out body bytea,
    out failures integer,
    out failing_seconds double precision,
    out dead_in_row integer,
    out in_flight boolean,
    out waiting boolean
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    -- Taken before this transaction is assigned an id.
    present pg_snapshot := pg_current_snapshot();
    destination audit.destination;
    cursor_row audit.cursor;
begin
    event_ids := '{}';
    resource_keys := '{}';
    sizes := '{}';
    body := '';
    waiting := false;
    in_flight := exists (select from pg_snapshot_xip(present));

    select served.*
    into destination
    from audit.destination as served
    join audit.cursor on cursor.destination_id = served.id
    where cursor.id = p_cursor_id and not served.paused;
    if not found then
        return;
    end if;
    if p_after is null then
        cursor_row := audit_internal.acquire_lease(p_cursor_id, p_worker, p_lease);
    else
        select * into cursor_row from audit.cursor where id = p_cursor_id and lease_holder = p_worker;
    end if;
    lease_token := cursor_row.lease_token;
    failures := cursor_row.failures;
    failing_seconds := extract(epoch from clock_timestamp() - cursor_row.failing_since);
    dead_in_row := cursor_row.dead_in_row;
    waiting := coalesce(cursor_row.retry_at > clock_timestamp(), false);
    if lease_token is null or waiting then
        return;
    end if;

    if cursor_row.replay_id is null and p_after is null then
        cursor_row := audit_internal.begin_batch(cursor_row, destination, present);
        -- It grows with each batch, so that a late report of an earlier one has no effect.
        lease_token := cursor_row.lease_token;
        if lease_token is null then
            return;
        end if;
        if cursor_row.batch_to is null and pg_visible_in_snapshot(destination.leaving, present) then
            -- It has received the event of its removal, or never will.
            perform audit_internal.delete_destination(destination.id);
            lease_token := null;
            return;
        end if;
        -- A long log is not scanned to its end at once.
        in_flight := in_flight or cursor_row.batch_to is null and audit_internal.transactions_between(cursor_row.batch_from, present) > 1000;
    end if;

    select rendered.event_ids, rendered.event_uids, rendered.resource_keys, rendered.sizes, rendered.body
    into event_ids, event_uids, resource_keys, sizes, body
    from audit_internal.render_batch(cursor_row, destination, coalesce(p_after, cursor_row.last_sent_id), p_max_events, p_max_bytes)
        as rendered;
    if event_ids <> '{}' then
        -- Sending may take as long as a lease lasts.
        perform audit_internal.renew_lease(p_cursor_id, lease_token, p_lease);
    elsif cursor_row.replay_id is not null and p_after is null then
        -- Nothing of it is left.
        delete from audit.cursor where id = cursor_row.id and cursor.lease_token = cursor_row.lease_token;
        if found then
            update audit.replay set finished_at = clock_timestamp() where id = cursor_row.replay_id;
        end if;
    end if;
end
$$;

comment on function audit_internal.next_batch(bigint, text, interval, bigint, integer, bigint) is
    'The next events of a cursor for this worker, rendered, in the order of their ids; the same again until audit_internal.record_delivery() has moved the cursor, or those after p_after, which leaves the cursor as it is. lease_token null: paused, gone, held by another worker, or more than this one''s share. No events and a token: nothing to send now. event_uids: the public ids of events, where a node''s are among them; null: evt_ and the id. resource_keys: events with the same number may be of one resource. body: the events, with the format''s separator between them; sizes: the bytes of each. failures, failing_seconds: failed attempts since the last success, and since when. dead_in_row: dead letters since the last delivery. in_flight: a writing transaction is open, look again soon. waiting: the next attempt is not due. PT013.';

create or replace function audit_internal.record_delivery(
    p_cursor_id bigint,
    p_lease_token bigint,
    p_delivered bigint[],
    p_through bigint,
    p_dead_ids bigint[] default '{}',
    p_dead_statuses integer[] default '{}',
    p_dead_errors text[] default '{}',
    p_dead_in_row integer default 0,
    p_failed bigint default null,
    p_status integer default null,
    p_error text default null,
    p_retry_in interval default null,
    p_hold text default null
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    retry_time timestamptz := case when p_failed is not null then clock_timestamp() + p_retry_in end;
    before audit.cursor;
    after audit.cursor;
begin
    select * into before from audit.cursor where id = p_cursor_id and cursor.lease_token = p_lease_token for update;
    if not found then
        return false;
    end if;
    update audit.cursor
    set
        last_sent_id = greatest(last_sent_id, p_through),
        sent_ahead = array(
            select id
            from unnest(sent_ahead || p_delivered || p_dead_ids) as id
            where id > greatest(last_sent_id, p_through)
            order by id
        ),
        failures = case when p_failed is null then 0 when p_delivered = '{}' then failures + 1 else 1 end,
        failing_since = case
            when p_failed is null then null
            when p_delivered = '{}' then coalesce(failing_since, clock_timestamp())
            else clock_timestamp()
        end,
        needs_attention = coalesce(p_hold = 'attention', false),
        dead_in_row = p_dead_in_row,
        retry_at = retry_time,
        last_attempt_at = clock_timestamp(),
        last_success_at = case when p_delivered = '{}' then last_success_at else clock_timestamp() end,
        last_error = p_error
    where id = p_cursor_id
    returning * into after;

    insert into audit.attempt (
        destination_id, replay_id, worker, delivered, first_event_id, last_event_id, dead_letters, failed_event_id, status,
        error, retry_at
    )
    select
        after.destination_id, after.replay_id, coalesce(after.lease_holder, ''), cardinality(p_delivered), min(id), max(id),
        cardinality(p_dead_ids), p_failed, p_status, p_error, retry_time
    from unnest(p_delivered) as id;

    insert into audit.dead_letter as earlier (destination_id, event_id, status, error)
    select after.destination_id, dead.event_id, dead.status, dead.error
    from unnest(p_dead_ids, p_dead_statuses, p_dead_errors) as dead (event_id, status, error)
    on conflict (destination_id, event_id) do update
    set
        status = excluded.status,
        error = excluded.error,
        attempts = earlier.attempts + 1,
        last_at = now(),
        delivered_at = null;
    if after.replay_id is not null then
        update audit.dead_letter
        set delivered_at = clock_timestamp()
        where destination_id = after.destination_id and event_id = any (p_delivered) and delivered_at is null;
    end if;

    perform audit_internal.record_state_change(before, after, p_hold);
    return true;
end
$$;

comment on function audit_internal.record_delivery(
    bigint, bigint, bigint[], bigint, bigint[], integer[], text[], integer, bigint, integer, text, interval, text
) is
    'Records the outcome of events that audit_internal.next_batch() returned, and moves the cursor, in one transaction. p_delivered: what the receiver has; p_through: every event of the batch up to this id is delivered or a dead letter; p_dead_…: the events it refuses; p_dead_in_row: dead letters since the last delivery; p_failed: the first event that has to be sent again, with p_status, p_error, p_retry_in, and p_hold: `attention`, or `gone`, which pauses the destination. False: the lease was lost, and nothing was recorded.';

create or replace function audit_internal.record_state_change(before audit.cursor, after audit.cursor, hold text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    old_state text := audit_internal.cursor_state(before);
    new_state text := audit_internal.cursor_state(after);
    destination_name text := (select name from audit.destination where id = after.destination_id);
begin
    if hold = 'gone' then
        update audit.destination set paused = true where id = after.destination_id and not paused;
    elsif old_state = new_state or not array[old_state, new_state] && '{needs_attention,suspended}' then
        return;
    end if;
    perform audit.record(
        case new_state
            when 'needs_attention' then 'audit.destination_needs_attention'
            when 'suspended' then 'audit.destination_suspended'
            when 'active' then 'audit.destination_recovered'
            else 'audit.destination_retrying'
        end,
        'destination',
        after.destination_id::text,
        destination_name,
        jsonb_build_object('state', old_state),
        jsonb_build_object('state', new_state, 'error', coalesce(after.broken, after.last_error))
    );
end
$$;

comment on function audit_internal.record_state_change(audit.cursor, audit.cursor, text) is
    'Records as an event that a destination needs attention, is suspended or has recovered; pauses one whose receiver is gone.';

create or replace function audit_internal.report_broken(p_cursor_id bigint, p_worker text, p_error text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    before audit.cursor;
    after audit.cursor;
begin
    select *
    into before
    from audit.cursor
    where id = p_cursor_id
        and broken is distinct from left(p_error, 1000)
        -- Another worker may be able to serve it.
        and (lease_holder = p_worker or lease_holder is null or lease_until < clock_timestamp())
        and system_identifier = audit_internal.system_identifier()
    for update;
    if not found then
        return;
    end if;
    update audit.cursor set broken = left(p_error, 1000) where id = p_cursor_id returning * into after;
    perform audit_internal.record_state_change(before, after, null);
end
$$;

comment on function audit_internal.report_broken(bigint, text, text) is
    'Stores a worker''s report that it can''t serve a cursor (no part of an event is in it) or, with null, that it can again. Ignored while another worker holds the lease.';

create or replace function audit.maintain()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    perform audit.make_partitions();
    for step in 1..100 loop
        exit when not audit_internal.index_events();
    end loop;
    delete from audit.attempt where attempted_at < now() - interval '30 days';
    delete from audit.worker where seen_at < now() - interval '1 day';
end
$$;

comment on function audit.maintain() is
    'Regular maintenance: makes partitions ahead, files events by actor and action, deletes attempts older than 30 days and workers not seen for a day. The worker calls it hourly; pg_cron can.';
