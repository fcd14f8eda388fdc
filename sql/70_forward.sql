-- Forwarding: what a destination gets, the batch that is next, and what became of it.

create or replace function audit.event_json(event audit.event)
returns jsonb
language sql
stable
as $$
    select pg_catalog.jsonb_build_object(
        'id', 'evt_' || event.id,
        'occurred_at', audit.rfc3339(event.occurred_at),
        'org_id', event.org_id,
        'category', event.category,
        'action', event.action,
        'operation', event.operation,
        'actor', pg_catalog.jsonb_build_object(
            'type', event.actor_type,
            'id', event.actor_id,
            'label', event.actor_label,
            'ip', pg_catalog.host(event.actor_ip),
            'user_agent', event.user_agent
        ),
        'request_id', event.request_id,
        'reason', event.reason,
        'resource', pg_catalog.jsonb_build_object(
            'type', event.resource_type,
            'id', event.resource_id,
            'label', event.resource_label,
            'table', event.table_name
        ),
        'connection', pg_catalog.jsonb_build_object(
            'role', event.db_role,
            'address', pg_catalog.host(event.client_addr),
            'application_name', event.application_name
        ),
        'before', event.before,
        'after', event.after,
        'changed', event.changed
    )
$$;

comment on function audit.event_json(audit.event) is
    'An event as other programs get it. `changed` is null where a row came or went.';

create or replace function audit.render_webhook(event audit.event)
returns text
language sql
stable
as $$
    select pg_catalog.jsonb_build_object(
        'type', event.action,
        'timestamp', audit.rfc3339(event.occurred_at),
        'data', audit.event_json(event)
    )::text
$$;

comment on function audit.render_webhook(audit.event) is
    'The body of a Standard Webhooks 1.0.0 request: type, timestamp, data.';

insert into audit.format as known (name, content_type, max_events)
values ('webhook', 'application/json', 1)
on conflict (name) do update
set content_type = excluded.content_type, max_events = excluded.max_events
where (known.content_type, known.max_events) is distinct from (excluded.content_type, excluded.max_events);

create or replace function audit.ping_event()
returns audit.event
language sql
stable
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

comment on function audit.ping_event() is 'An event that is sent to test a destination and stands nowhere.';

-- What an operator calls -------------------------------------------------------------------------------------------

create or replace function audit.add_destination(
    name text,
    url text,
    format text default 'webhook',
    categories text[] default null,
    actions text[] default null,
    orgs text[] default null,
    since timestamptz default null,
    allow_http boolean default false
)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    new_id bigint;
    new_secret text;
    category_name text;
begin
    perform audit.check_destination(name, url, format, allow_http);
    foreach category_name in array coalesce(categories, '{}')
    loop
        perform audit.check_category(category_name);
    end loop;

    insert into audit.destination (name, format, url, categories, actions, orgs, since, allow_http)
    values (name, format, url, categories, actions, orgs, since, allow_http)
    returning id into new_id;

    -- Two random UUIDs hold 244 random bits.
    new_secret := 'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64');
    insert into audit.destination_secret (destination_id, secret) values (new_id, new_secret);

    insert into audit.cursor (destination_id, system_identifier, batch_from)
    values (
        new_id,
        audit.system_identifier(),
        -- With a beginning in the past: a snapshot in which nothing is visible yet.
        case when since is null then pg_current_snapshot() else '1:1:'::pg_snapshot end
    );
    return new_secret;
end
$$;

comment on function audit.add_destination(text, text, text, text[], text[], text[], timestamptz, boolean) is
    'Forwards events from now on, or since a time, to a URL. Returns the signing secret (Standard Webhooks): it is shown only here. PT005, PT009–PT012.';

create or replace function audit.check_destination(
    destination_name text, destination_url text, destination_format text, allow_http boolean
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if destination_name !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' then
        raise exception using
            errcode = 'PT009',
            message = format('"%s" can''t be a destination''s name', destination_name),
            hint = 'Use letters, digits, dots, dashes and underscores, at most 63.';
    elsif exists (select from audit.destination where name = destination_name) then
        raise exception using
            errcode = 'PT009',
            message = format('there is a destination "%s" already', destination_name),
            hint = 'Choose another name, or remove that one first.';
    elsif destination_url !~ '^https?://([^][/?#@:\s\\[:cntrl:]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#][^\s[:cntrl:]]*)?$' then
        raise exception using
            errcode = 'PT010',
            message = format('"%s" is not a URL that events can be posted to',
                regexp_replace(destination_url, '//[^/@]*@', '//…@')),
            hint = 'Write https://host/path, without a user name or password in it.';
    elsif destination_url like 'http:%' and not allow_http then
        raise exception using
            errcode = 'PT010',
            message = format('%s is not https: anyone on the way could read the events', destination_url),
            hint = 'Use https, or allow http for this destination (--allow-http).';
    elsif not exists (select from audit.format where name = destination_format) then
        raise exception using
            errcode = 'PT011',
            message = format('there is no format "%s"', destination_format),
            hint = 'The formats are ' || (select string_agg(name, ', ' order by name) from audit.format) || '.';
    end if;
end
$$;

comment on function audit.check_destination(text, text, text, boolean) is
    'Raises PT009 (name), PT010 (URL) or PT011 (format) unless a destination can be added so.';

create or replace function audit.pause_destination(destination_name text, paused boolean default true)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit.destination_id(destination_name);
begin
    update audit.destination as destination
    set paused = pause_destination.paused
    where destination.id = found_id and destination.paused <> pause_destination.paused;
    if not paused then
        -- Who resumes wants it tried now.
        update audit.cursor set retry_at = null where destination_id = found_id;
    end if;
    notify pgtrail;
end
$$;

comment on function audit.pause_destination(text, boolean) is
    'Pauses a destination, or (paused => false) resumes it from where it was: nothing is lost. PT012.';

create or replace function audit.remove_destination(destination_name text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from audit.destination where id = audit.destination_id(destination_name);
    notify pgtrail;
end
$$;

comment on function audit.remove_destination(text) is
    'Removes a destination with its cursor, secret and attempts. PT012.';

create or replace function audit.destination_id(destination_name text)
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
            errcode = 'PT012',
            message = format('there is no destination "%s"', destination_name),
            hint = coalesce(
                'The destinations are ' || (select string_agg(name, ', ' order by name) from audit.destination) || '.',
                'There are none yet: pgtrail destination add NAME --url https://…'
            );
    end if;
    return found_id;
end
$$;

comment on function audit.destination_id(text) is 'The id of a destination. PT012.';

create or replace function audit.is_for(event audit.event, destination audit.destination)
returns boolean
language sql
immutable
as $$
    select audit.matches(
        event, destination.categories, destination.actions, destination.orgs, null, destination.since, null, null
    )
$$;

comment on function audit.is_for(audit.event, audit.destination) is 'Whether a destination''s filters let an event through.';

-- What the worker calls --------------------------------------------------------------------------------------------

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
        when cursor.failures > 0 then 'retrying'
        else 'active'
    end as state,
    (
        select count(*)
        from audit.batch(cursor.batch_from, pg_catalog.pg_current_snapshot()) as event
        where audit.is_for(event, destination)
            and (
                cursor.batch_to is null
                or event.id > cursor.last_sent_id
                or not pg_catalog.pg_visible_in_snapshot(event.xid, cursor.batch_to)
            )
    ) as events_behind,
    cursor.last_success_at,
    cursor.last_error,
    cursor.failures,
    cursor.retry_at,
    cursor.lease_holder,
    cursor.lease_until
from audit.destination
join audit.cursor on cursor.destination_id = destination.id;

comment on view audit.destination_status is
    'The destinations, whether they are served, and how many events each has still to get.';

create or replace function audit.system_identifier()
returns bigint
language sql
stable
as $$
    select system_identifier from pg_catalog.pg_control_system()
$$;

comment on function audit.system_identifier() is 'The identity of this cluster; a restored dump lives in another.';

create or replace function audit.next_batch(
    p_destination_id bigint,
    p_worker text,
    p_max_events integer default 100,
    p_lease interval default '30 seconds',
    p_max_bytes bigint default 1048576,
    out lease_token bigint,
    out event_ids bigint[],
    out bodies text[],
    out failures integer,
    out in_flight boolean,
    out waiting boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Taken before this transaction has an id of its own.
    present pg_snapshot := pg_current_snapshot();
    destination audit.destination;
    position audit.cursor;
begin
    event_ids := '{}';
    bodies := '{}';
    waiting := false;
    in_flight := exists (select from pg_snapshot_xip(present));

    select * into destination from audit.destination where id = p_destination_id and not paused;
    if not found then
        return;
    end if;
    position := audit.hold_lease(p_destination_id, p_worker, p_lease);
    lease_token := position.lease_token;
    failures := position.failures;
    waiting := coalesce(position.retry_at > clock_timestamp(), false);
    if lease_token is null or waiting then
        return;
    end if;

    -- Twice at the most: the rest of the batch in progress, then a new one.
    loop
        if position.batch_to is not null then
            select coalesce(array_agg(event.id order by event.id) filter (where event.bytes_before < p_max_bytes), '{}')
            into event_ids
            from (
                select
                    candidate.id,
                    coalesce(
                        sum(coalesce(pg_column_size(candidate.before), 0) + coalesce(pg_column_size(candidate.after), 0))
                            over (order by candidate.id rows between unbounded preceding and 1 preceding),
                        0
                    ) as bytes_before
                from audit.event as candidate
                where candidate.id > position.last_sent_id
                    and (
                        candidate.xid = any (array(select pg_snapshot_xip(position.batch_from)))
                        or candidate.xid >= pg_snapshot_xmax(position.batch_from)
                    )
                    and pg_visible_in_snapshot(candidate.xid, position.batch_to)
                    and audit.is_for(candidate, destination)
                order by candidate.id
                limit p_max_events
            ) as event;
            exit when event_ids <> '{}';
            position.batch_from := position.batch_to;
            position.batch_to := null;
            perform audit.move_cursor(position);
        end if;

        -- The lowest id of the new batch, by transaction id; from there on it is read in the order of ids.
        select min(event.id) - 1
        into position.last_sent_id
        from audit.batch(position.batch_from, present) as event
        where audit.is_for(event, destination);
        if position.last_sent_id is null then
            -- Nothing new for it. Without a step now and then the batch would span an ever longer range.
            if pg_snapshot_xmax(present)::text::numeric - pg_snapshot_xmax(position.batch_from)::text::numeric > 1000 then
                position.batch_from := present;
                position.last_sent_id := 0;
                perform audit.move_cursor(position);
            end if;
            return;
        end if;
        position.batch_to := present;
        perform audit.move_cursor(position);
    end loop;

    -- To send it may take as long as a lease lasts.
    update audit.cursor
    set lease_until = clock_timestamp() + p_lease
    where destination_id = p_destination_id and cursor.lease_token = position.lease_token;

    execute format(
        'select array_agg(audit.%I(event) order by event.id) from audit.event as event where event.id = any ($1)',
        'render_' || destination.format
    )
    into bodies
    using event_ids;
end
$$;

comment on function audit.next_batch(bigint, text, integer, interval, bigint) is
    'The next events of a destination for this worker, rendered, in the order of their ids; the same again until audit.settle() has moved the cursor. lease_token null: paused, gone or held by another worker. No events and a token: nothing to send now. failures: failed attempts since the last success. in_flight: a writing transaction is open, look again soon. waiting: the next attempt is not due. p_max_bytes: a batch ends with the event that exceeds it, by the size at which rows are stored. PT013.';

create or replace function audit.hold_lease(p_destination_id bigint, p_worker text, p_lease interval)
returns audit.cursor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    held audit.cursor;
begin
    select * into held from audit.cursor where destination_id = p_destination_id;
    if held.system_identifier <> audit.system_identifier() then
        raise exception using
            errcode = 'PT013',
            message = format('the cursor of destination %s is from another cluster', p_destination_id),
            hint = 'Transaction ids mean nothing in a restored database: remove the destination and add it again with --since.';
    end if;

    -- Renewed when half of it is over: an idle destination costs a write every now and then only.
    if held.lease_holder = p_worker and held.lease_until > clock_timestamp() + p_lease / 2 then
        return held;
    end if;
    update audit.cursor
    set
        lease_holder = p_worker,
        lease_until = clock_timestamp() + p_lease,
        lease_token = cursor.lease_token + case when cursor.lease_holder is distinct from p_worker then 1 else 0 end
    where destination_id = p_destination_id
        and (
            lease_holder is null
            or lease_holder = p_worker
            or lease_until < clock_timestamp()
        )
    returning * into held;
    if not found then
        held := null;
    end if;
    return held;
end
$$;

comment on function audit.hold_lease(bigint, text, interval) is
    'A destination''s cursor if this worker holds its lease, or can take it; else null. PT013.';

create or replace function audit.move_cursor(moved audit.cursor)
returns void
language sql
volatile
as $$
    update audit.cursor
    set
        batch_from = moved.batch_from,
        batch_to = moved.batch_to,
        last_sent_id = moved.last_sent_id
    where destination_id = moved.destination_id and lease_token = moved.lease_token
$$;

comment on function audit.move_cursor(audit.cursor) is 'Stores where a destination''s batch begins and ends.';

create or replace function audit.settle(
    p_destination_id bigint,
    p_lease_token bigint,
    p_delivered bigint[],
    p_failed bigint default null,
    p_status integer default null,
    p_error text default null,
    p_retry_in interval default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    retry_time timestamptz := case when p_failed is not null then clock_timestamp() + p_retry_in end;
    worker text;
begin
    update audit.cursor
    set
        last_sent_id = coalesce((select max(id) from unnest(p_delivered) as id), last_sent_id),
        failures = case when p_failed is null then 0 when p_delivered = '{}' then failures + 1 else 1 end,
        retry_at = retry_time,
        last_success_at = case when p_delivered = '{}' then last_success_at else clock_timestamp() end,
        last_error = p_error
    where destination_id = p_destination_id and cursor.lease_token = p_lease_token
    returning lease_holder into worker;
    if not found then
        return false;
    end if;

    insert into audit.attempt (
        destination_id, worker, delivered, first_event_id, last_event_id, failed_event_id, status, error, retry_at
    )
    select
        p_destination_id, worker, cardinality(p_delivered), min(id), max(id), p_failed, p_status, p_error, retry_time
    from unnest(p_delivered) as id;
    return true;
end
$$;

comment on function audit.settle(bigint, bigint, bigint[], bigint, integer, text, interval) is
    'Records what became of the events that audit.next_batch() gave, and moves the cursor past the delivered ones, in one transaction. False: the lease was lost, nothing is moved or recorded.';

create or replace function audit.release_lease(p_destination_id bigint, p_lease_token bigint)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    update audit.cursor
    set lease_holder = null, lease_until = null
    where destination_id = p_destination_id and lease_token = p_lease_token
$$;

comment on function audit.release_lease(bigint, bigint) is 'Gives a lease back, so that another worker need not wait for its end.';

create or replace function audit.maintain()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.make_partitions();
    delete from audit.attempt where attempted_at < now() - interval '30 days';
end
$$;

comment on function audit.maintain() is
    'What has to be done now and then: partitions made ahead, attempts older than 30 days forgotten. The worker calls it hourly; pg_cron can.';
