-- Delivery: the events of a batch that were not sent, rendered.

create or replace function audit_internal.unsent(
    reached audit.cursor, destination audit.destination, after_id bigint, max_events integer
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
    if reached.replay_id is not null then
        select * into replay from audit.replay where id = reached.replay_id;
        -- The replay says since when.
        destination.since := null;
        return query
        select event.*
        from audit.event
        where event.id > after_id
            and event.id <> all (reached.sent_ahead)
            and (event.id <= reached.foreign_id or pg_visible_in_snapshot(event.xid, reached.batch_to))
            and event.occurred_at >= coalesce(replay.since, '-infinity')
            and event.occurred_at < coalesce(replay.until, 'infinity')
            and (replay.event_ids is null or event.id = any (replay.event_ids))
            and audit_internal.is_for(event, destination)
        order by event.id
        limit max_events;
    elsif reached.takes_foreign and after_id < reached.foreign_id then
        -- They come first, and by themselves.
        return query
        select event.*
        from audit.event
        where event.id > after_id
            and event.id <= reached.foreign_id
            and event.id <> all (reached.sent_ahead)
            and audit_internal.is_news_for(event, destination)
        order by event.id
        limit max_events;
    end if;
    if not found and reached.replay_id is null then
        -- The planner can't know how many there are: it would sort a hundred thousand to take ten.
        if (
            select count(*) > 5000
            from (select from audit_internal.batch(reached.batch_from, reached.batch_to) limit 5001) as first
        ) then
            return query select * from audit_internal.unsent_of_many(reached, destination, after_id, max_events);
        else
            return query
            select event.*
            from audit_internal.batch(reached.batch_from, reached.batch_to) as event
            where event.id > greatest(after_id, reached.foreign_id)
                and (reached.batch_last_id is null or event.id <= reached.batch_last_id)
                and event.id <> all (reached.sent_ahead)
                and audit_internal.is_news_for(event, destination)
            order by event.id
            limit max_events;
        end if;
    end if;
end
$$;

comment on function audit_internal.unsent(audit.cursor, audit.destination, bigint, integer) is
    'The first events of the batch in progress, or of the replay, beyond an id, that were not sent; in the order of their ids.';

create or replace function audit_internal.unsent_of_many(
    reached audit.cursor, destination audit.destination, after_id bigint, max_events integer
)
returns setof audit.event
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- In the order of the primary key, and no further than it takes.
set enable_sort = off
set enable_bitmapscan = off
-- (As in audit_internal.begin_batch().)
set plan_cache_mode = force_custom_plan
as $$
begin
    return query
    select event.*
    from audit_internal.batch(reached.batch_from, reached.batch_to) as event
    where event.id > greatest(after_id, reached.foreign_id)
        and event.id <= coalesce(reached.batch_last_id, 9223372036854775807)
        and event.id <> all (reached.sent_ahead)
        and audit_internal.is_news_for(event, destination)
    order by event.id
    limit max_events;
end
$$;

comment on function audit_internal.unsent_of_many(audit.cursor, audit.destination, bigint, integer) is
    'audit_internal.unsent() of a batch that is large: read by id, where a small one is read by transaction and sorted.';

create or replace function audit_internal.render_unsent(
    reached audit.cursor,
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
    if reached.batch_to is null then
        return;
    end if;
    select * into format from audit.format as known where known.name = destination.format;
    execute pg_catalog.format(
        $query$
            -- Materialized: otherwise each mention of piece would render it once more.
            with whole as materialized (
                select
                    event.id,
                    case when event.node is not null then audit_internal.event_uid(event) end as uid,
                    hashtext(event.resource_type || ':' || coalesce(event.resource_id, '')) as resource_key,
                    convert_to(audit_internal.%I(event), 'UTF8') as piece
                from audit_internal.unsent($1, $2, $3, $4) as event
            ),
            fitting as materialized (
                select
                    id,
                    uid,
                    resource_key,
                    case when octet_length(piece) > $6 then audit_internal.shortened($7, id, $6) else piece end as piece
                from whole
            ),
            measured as (
                select
                    *,
                    sum(octet_length(piece)) over (order by id rows between unbounded preceding and 1 preceding) as bytes_before
                from fitting
            )
            select
                coalesce(array_agg(id order by id), '{}'),
                case when count(uid) > 0 then array_agg(coalesce(uid, 'evt_' || id) order by id) end,
                coalesce(array_agg(resource_key order by id), '{}'),
                coalesce(array_agg(octet_length(piece) order by id), '{}'),
                coalesce(string_agg(piece, $8 order by id), '')
            from measured
            where bytes_before is null or bytes_before + octet_length(piece) <= $5
        $query$,
        'render_' || destination.format
    )
    into event_ids, event_uids, resource_keys, sizes, body
    using
        reached, destination, after_id, max_events, max_bytes, format.max_event_bytes, reached.id,
        convert_to(format.separator, 'UTF8');
end
$$;

comment on function audit_internal.render_unsent(audit.cursor, audit.destination, bigint, integer, bigint) is
    'What audit_internal.unsent() gives as the destination gets it, until there are too many bytes; see audit_internal.next_batch().';

create or replace function audit_internal.shortened(p_cursor_id bigint, p_event_id bigint, p_max_bytes integer)
returns bytea
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select audit_internal.render_within(event, destination.format, p_max_bytes)
    from audit.event
    join audit.cursor on cursor.id = p_cursor_id
    join audit.destination on destination.id = cursor.destination_id
    where event.id = p_event_id
$$;

comment on function audit_internal.shortened(bigint, bigint, integer) is
    'An event that a receiver finds too large, shortened to so many bytes where it can be; see audit_internal.render_within().';
