-- Delivery: the unsent events of a batch, and their rendering.

create or replace function audit_internal.unsent_events(
    cursor_row audit.cursor, destination audit.destination, after_id bigint, max_events integer
)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- (As in audit_internal.begin_batch().)
set plan_cache_mode = force_custom_plan
as $$
declare
    replay audit.replay;
begin
    if cursor_row.replay_id is not null then
        select * into replay from audit.replay where id = cursor_row.replay_id;
        -- The replay has its own since.
        destination.since := null;
        return query
        select event.*
        from audit.event
        where event.id > after_id
            and event.id <> all (cursor_row.sent_ahead)
            and (event.id <= cursor_row.restored_id or pg_visible_in_snapshot(event.xid, cursor_row.batch_to))
            and event.occurred_at >= coalesce(replay.since, '-infinity')
            and event.occurred_at < coalesce(replay.until, 'infinity')
            and (replay.event_ids is null or event.id = any (replay.event_ids))
            and audit_internal.matches_destination(event, destination)
        order by event.id
        limit max_events;
    elsif cursor_row.takes_restored and after_id < cursor_row.restored_id then
        -- They come first, in batches of their own.
        return query
        select event.*
        from audit.event
        where event.id > after_id
            and event.id <= cursor_row.restored_id
            and event.id <> all (cursor_row.sent_ahead)
            and audit_internal.matches_destination_live(event, destination)
        order by event.id
        limit max_events;
    end if;
    if not found and cursor_row.replay_id is null then
        -- The planner doesn't know how many there are, and would sort a hundred thousand to take ten.
        if (
            select count(*) > 5000
            from (select from audit_internal.events_between(cursor_row.batch_from, cursor_row.batch_to) limit 5001) as first
        ) then
            return query select * from audit_internal.unsent_events_by_id(cursor_row, destination, after_id, max_events);
        else
            return query
            select event.*
            from audit_internal.events_between(cursor_row.batch_from, cursor_row.batch_to) as event
            where event.id > greatest(after_id, cursor_row.restored_id)
                and (cursor_row.batch_last_id is null or event.id <= cursor_row.batch_last_id)
                and event.id <> all (cursor_row.sent_ahead)
                and audit_internal.matches_destination_live(event, destination)
            order by event.id
            limit max_events;
        end if;
    end if;
end
$$;

comment on function audit_internal.unsent_events(audit.cursor, audit.destination, bigint, integer) is
    'Returns the first unsent events of the batch in progress, or of the replay, above an id, in the order of their ids.';

create or replace function audit_internal.unsent_events_by_id(
    cursor_row audit.cursor, destination audit.destination, after_id bigint, max_events integer
)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- Read in the order of the primary key, until the limit.
set enable_sort = off
set enable_bitmapscan = off
-- (As in audit_internal.begin_batch().)
set plan_cache_mode = force_custom_plan
as $$
begin
    return query
    select event.*
    from audit_internal.events_between(cursor_row.batch_from, cursor_row.batch_to) as event
    where event.id > greatest(after_id, cursor_row.restored_id)
        and event.id <= coalesce(cursor_row.batch_last_id, 9223372036854775807)
        and event.id <> all (cursor_row.sent_ahead)
        and audit_internal.matches_destination_live(event, destination)
    order by event.id
    limit max_events;
end
$$;

comment on function audit_internal.unsent_events_by_id(audit.cursor, audit.destination, bigint, integer) is
    'audit_internal.unsent_events() of a batch that is large: read by id, where a small one is read by transaction and sorted.';

create or replace function audit_internal.render_batch(
    cursor_row audit.cursor,
    destination audit.destination,
    after_id bigint,
    max_events integer,
    max_bytes bigint,
    out event_ids bigint[],
    out event_uids text[],
    out resource_keys integer[],
    out sizes integer[],
    out body bytea
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    format audit.format;
begin
    event_ids := '{}';
    resource_keys := '{}';
    sizes := '{}';
    body := '';
    if cursor_row.batch_to is null then
        return;
    end if;
    select * into format from audit.format as known where known.name = destination.format;
    execute pg_catalog.format(
        $query$
            -- Materialized: otherwise each reference would render the event again.
            with event_rendered as materialized (
                select
                    event.id,
                    case when event.node is not null then audit_internal.event_uid(event) end as uid,
                    hashtext(event.resource_type || ':' || coalesce(event.resource_id, '')) as resource_key,
                    convert_to(audit_internal.%I(event), 'UTF8') as rendered
                from audit_internal.unsent_events($1, $2, $3, $4) as event
            ),
            event_shortened as materialized (
                select
                    id,
                    uid,
                    resource_key,
                    case when octet_length(rendered) > $6 then audit_internal.render_shortened($7, id, $6) else rendered end as rendered
                from event_rendered
            ),
            measured as (
                select
                    *,
                    sum(octet_length(rendered)) over (order by id rows between unbounded preceding and 1 preceding) as bytes_before
                from event_shortened
            )
            select
                coalesce(array_agg(id order by id), '{}'),
                case when count(uid) > 0 then array_agg(coalesce(uid, 'evt_' || id) order by id) end,
                coalesce(array_agg(resource_key order by id), '{}'),
                coalesce(array_agg(octet_length(rendered) order by id), '{}'),
                coalesce(string_agg(rendered, $8 order by id), '')
            from measured
            where bytes_before is null or bytes_before + octet_length(rendered) <= $5
        $query$,
        'render_' || destination.format
    )
    into event_ids, event_uids, resource_keys, sizes, body
    using
        cursor_row, destination, after_id, max_events, max_bytes, format.max_event_bytes, cursor_row.id,
        convert_to(format.separator, 'UTF8');
end
$$;

comment on function audit_internal.render_batch(audit.cursor, audit.destination, bigint, integer, bigint) is
    'Renders audit_internal.unsent_events() for the destination, up to max_bytes; see audit_internal.next_batch().';

create or replace function audit_internal.render_shortened(p_cursor_id bigint, p_event_id bigint, p_max_bytes integer)
returns bytea
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select audit_internal.render_to_fit(event, destination.format, p_max_bytes)
    from audit.event
    join audit.cursor on cursor.id = p_cursor_id
    join audit.destination on destination.id = cursor.destination_id
    where event.id = p_event_id
$$;

comment on function audit_internal.render_shortened(bigint, bigint, integer) is
    'Renders an event that a receiver refused as too large, shortened to so many bytes if possible; see audit_internal.render_to_fit().';
